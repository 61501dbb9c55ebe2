/** The messages of a vhost-user front end over one connection, asked one after the other. */
import { CodedError, getU32, setU16, setU32, setU64 } from "../base/index.ts";
import {
  VHOST_FLAG_NEED_REPLY,
  VHOST_FLAG_REPLY,
  VHOST_VERSION,
  VhostConfigLayout,
  VhostHeaderLayout,
  VhostInflightLayout,
  VhostMemoryRegionLayout,
  VhostMemoryTableLayout,
  VhostRequest,
  VhostRingAddressesLayout,
  VhostRingStateLayout,
  VirtioBlkConfigLayout,
} from "../format/index.ts";
import type {
  DescriptorStream,
  ReceivedDescriptor,
  RemoteEvent,
  SharedFile,
} from "../ports/index.ts";

const HEADER_BYTES = VhostHeaderLayout.sizeBytes;
const BODY_BYTES_MAX = 512;
const NUMBER_BYTES = 8;

export interface DiskFacts {
  readonly sizeBytes: number;
  readonly queueCount: number;
}

export interface InflightMemory {
  readonly file: SharedFile;
  /** The answer's body, to be given back as it is. */
  readonly place: Uint8Array;
}

export interface RingDescription {
  readonly entryCount: number;
  readonly base: number;
  /** Addresses in the table of memory. */
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  readonly kick: RemoteEvent;
  readonly call: RemoteEvent;
}

interface Answer {
  readonly body: Uint8Array;
  readonly descriptors: ReceivedDescriptor[];
}

export class FrontEnd {
  readonly #stream: DescriptorStream;
  readonly #onEnd: () => void;
  readonly #received = new Uint8Array(HEADER_BYTES + BODY_BYTES_MAX);
  #filled = 0;
  #descriptors: ReceivedDescriptor[] = [];
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;
  #isEnded = false;

  /** `onEnd` is called once, when the host has ended the connection. */
  constructor(stream: DescriptorStream, onEnd: () => void) {
    this.#stream = stream;
    this.#onEnd = onEnd;
    stream.start(this);
  }

  /** The bits that the device offers, as eight bytes. */
  features(): Promise<Uint8Array> {
    return this.#askBytes(VhostRequest.getFeatures);
  }

  protocolFeatures(): Promise<Uint8Array> {
    return this.#askBytes(VhostRequest.getProtocolFeatures);
  }

  agree(features: Uint8Array, protocol: Uint8Array): void {
    this.#tell(VhostRequest.setProtocolFeatures, protocol);
    this.#tell(VhostRequest.setOwner, new Uint8Array());
    this.#tell(VhostRequest.setFeatures, features);
  }

  async facts(): Promise<DiskFacts> {
    const { sizeBytes: configBytes, at } = VirtioBlkConfigLayout;
    const headBytes = VhostConfigLayout.sizeBytes;
    const body = new Uint8Array(headBytes + configBytes);
    setU32(body, VhostConfigLayout.at.sizeBytes, configBytes);
    const { body: answer } = await this.#ask(VhostRequest.getConfig, body);
    if (answer.length !== body.length) throw broken("the host has no configuration space");
    const from = headBytes + at.capacity;
    const sectors = getU32(answer, from) + getU32(answer, from + 4) * 2 ** 32;
    const queueAt = headBytes + at.queueCount;
    const queueCount = answer[queueAt]! + 256 * answer[queueAt + 1]!;
    return { sizeBytes: 512 * sectors, queueCount };
  }

  async makeInflight(entryCount: number): Promise<InflightMemory> {
    const body = new Uint8Array(VhostInflightLayout.sizeBytes);
    setU16(body, VhostInflightLayout.at.queueCount, 1);
    setU16(body, VhostInflightLayout.at.queueSize, entryCount);
    const { body: place, descriptors } = await this.#ask(VhostRequest.getInflight, body);
    const [descriptor] = descriptors.splice(0);
    if (descriptor === undefined) throw broken("the host keeps no requests under way");
    return { file: descriptor.asFile(), place };
  }

  useInflight({ file, place }: InflightMemory): void {
    this.#tell(VhostRequest.setInflight, place, [file]);
  }

  share(file: SharedFile, address: number): void {
    const { at } = VhostMemoryRegionLayout;
    const head = VhostMemoryTableLayout.sizeBytes;
    const body = new Uint8Array(head + VhostMemoryRegionLayout.sizeBytes);
    setU32(body, VhostMemoryTableLayout.at.count, 1);
    setU64(body, head + at.guestAddress, address);
    setU64(body, head + at.userAddress, address);
    setU64(body, head + at.sizeBytes, file.sizeBytes);
    this.#tell(VhostRequest.setMemoryTable, body, [file]);
  }

  /** Resolves when the host serves the ring. */
  async startRing(ring: RingDescription): Promise<void> {
    const { at, sizeBytes } = VhostRingAddressesLayout;
    const addresses = new Uint8Array(sizeBytes);
    setU64(addresses, at.descriptors, ring.descriptors);
    setU64(addresses, at.available, ring.available);
    setU64(addresses, at.used, ring.used);
    this.#tell(VhostRequest.setRingSize, state(ring.entryCount));
    this.#tell(VhostRequest.setRingBase, state(ring.base));
    this.#tell(VhostRequest.setRingAddresses, addresses);
    this.#tell(VhostRequest.setRingCall, new Uint8Array(NUMBER_BYTES), [ring.call]);
    this.#tell(VhostRequest.setRingKick, new Uint8Array(NUMBER_BYTES), [ring.kick]);
    const { body } = await this.#ask(VhostRequest.enableRing, state(1), VHOST_FLAG_NEED_REPLY);
    if (getU32(body, 0) !== 0) throw broken("the host does not serve the volume");
  }

  /** Resolves when nothing is under way any more. */
  async stopRing(): Promise<void> {
    await this.#ask(VhostRequest.getRingBase, state(0));
  }

  close(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#stream.close();
    for (const descriptor of this.#descriptors.splice(0)) descriptor.close();
    this.#waiting?.reject(broken("the connection was closed"));
  }

  // For the stream.

  readable(): void {
    while (!this.#isEnded) {
      const bodyBytes = this.#filled < HEADER_BYTES ? 0 : this.#bodyBytes();
      if (bodyBytes > BODY_BYTES_MAX) return this.#end("it sent a message that is too long");
      const goalBytes = HEADER_BYTES + bodyBytes;
      if (this.#filled === goalBytes) {
        this.#deliver(goalBytes);
        continue;
      }
      const leftBytes = goalBytes - this.#filled;
      const count = this.#stream.receive(
        this.#received,
        this.#filled,
        leftBytes,
        this.#descriptors,
      );
      if (count < 0) return this.#end("it ended the connection");
      if (count === 0) return;
      this.#filled += count;
    }
  }

  #bodyBytes(): number {
    return getU32(this.#received, VhostHeaderLayout.at.bodyBytes);
  }

  #deliver(messageBytes: number): void {
    const flags = getU32(this.#received, VhostHeaderLayout.at.flags);
    const body = this.#received.slice(HEADER_BYTES, messageBytes);
    const descriptors = this.#descriptors;
    const waiting = this.#waiting;
    this.#descriptors = [];
    this.#filled = 0;
    this.#waiting = undefined;
    if (waiting === undefined || (flags & VHOST_FLAG_REPLY) === 0) {
      for (const descriptor of descriptors) descriptor.close();
      this.#end("it sent an answer that nobody asked for");
    } else {
      waiting.resolve({ body, descriptors });
    }
  }

  #end(reason: string): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.close();
    waiting?.reject(broken(reason));
    this.#onEnd();
  }

  async #askBytes(request: number): Promise<Uint8Array> {
    const { body } = await this.#ask(request, new Uint8Array());
    if (body.length !== NUMBER_BYTES) throw broken("its answer has another length");
    return body;
  }

  #ask(request: number, body: Uint8Array, flags = 0): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#tell(request, body, [], flags);
    });
  }

  #tell(
    request: number,
    body: Uint8Array,
    carried: readonly (SharedFile | RemoteEvent)[] = [],
    flags = 0,
  ): void {
    const message = new Uint8Array(HEADER_BYTES + body.length);
    setU32(message, VhostHeaderLayout.at.request, request);
    setU32(message, VhostHeaderLayout.at.flags, VHOST_VERSION | flags);
    setU32(message, VhostHeaderLayout.at.bodyBytes, body.length);
    message.set(body, HEADER_BYTES);
    if (!this.#isEnded && this.#stream.send(message, carried)) return;
    throw broken("it takes no messages");
  }
}

function state(value: number): Uint8Array {
  const body = new Uint8Array(VhostRingStateLayout.sizeBytes);
  setU32(body, VhostRingStateLayout.at.value, value);
  return body;
}

function broken(reason: string): CodedError {
  return new CodedError({
    code: "connection-broken",
    message: `the connection to the volume is broken: ${reason}`,
    hint: "drystone events tells why a client was cut off",
  });
}
