/**
 * A front end's connection: answers its messages, runs its rings. Ends by itself when the front end
 * goes, breaks a rule, or when the volume is not served here any more; requests that are under way
 * then are not answered, so that whoever takes them over carries them out.
 */
import { CodedError, errorText, getU32, setU32 } from "../../base/index.ts";
import {
  VHOST_FLAG_NEED_REPLY,
  VHOST_FLAG_REPLY,
  VHOST_RING_INDEX_MASK,
  VHOST_RING_NO_FD,
  VHOST_VERSION,
  VhostBackendRequest,
  VhostConfigLayout,
  VhostHeaderLayout,
  VhostMemoryRegionLayout,
  VhostMemorySlotLayout,
  VhostMemoryTableLayout,
  VhostProtocolBit,
  VhostRequest,
  VhostRingAddressesLayout,
  VhostRingStateLayout,
  VirtioBit,
} from "../../format/index.ts";
import type { DescriptorStream, RemoteEvent, SharedFile } from "../../ports/index.ts";
import { READ_PIECE_BYTES_MAX } from "../nbd/read-memory.ts";
import type { ReadMemory } from "../nbd/read-memory.ts";
import type { SectionCache } from "../shared-memory/section-cache.ts";
import type { BlockDevice } from "./block-device.ts";
import type { QueueWorld } from "./block-queue.ts";
import { FeatureBits } from "./feature-bits.ts";
import { GuestMemory, MEMORY_REGIONS_MAX } from "./guest-memory.ts";
import type { RegionDescription } from "./guest-memory.ts";
import { MessageReader } from "./message-reader.ts";
import type { VhostMessage } from "./message-reader.ts";
import { VhostRing } from "./vhost-ring.ts";
import { demand, wireU64 } from "./violation.ts";
import type { VhostViolation } from "./violation.ts";

/** Descriptors in one message limit the regions of a table. */
const TABLE_REGIONS_MAX = 8;
const CONFIG_BYTES_MAX = 256;
/** Messages answered in one turn. */
const MESSAGES_PER_TURN_MAX = 64;
const NUMBER_BYTES = 8;
const REGION_BYTES = VhostMemoryRegionLayout.sizeBytes;

export interface SessionWorld {
  readonly device: BlockDevice;
  readonly sections: SectionCache;
  readonly takeMemory: () => ReadMemory;
  readonly giveMemory: (memory: ReadMemory) => void;
  /** The connection is closed. `reason` tells why, unless the front end went by itself. */
  readonly ended: (session: VhostSession, reason: string | undefined) => void;
  /** The volume has answered what was under way when the connection ended. */
  readonly drained: (session: VhostSession) => void;
}

type Handler = (message: VhostMessage) => void;

interface Rule {
  /** Undefined where the body has no fixed length. */
  readonly bodyBytes: number | undefined;
  readonly descriptorsMax: number;
  readonly handle: Handler;
}

export class VhostSession {
  readonly #world: SessionWorld;
  readonly #stream: DescriptorStream;
  readonly #reader: MessageReader;
  readonly #guest: GuestMemory;
  readonly #staging = new Uint8Array(READ_PIECE_BYTES_MAX);
  readonly #rings: readonly VhostRing[];
  readonly #memories: ReadMemory[] = [];
  readonly #rules: ReadonlyMap<number, Rule>;
  readonly #offered: FeatureBits;
  readonly #protocolOffered: FeatureBits = FeatureBits.of([
    VhostProtocolBit.queues,
    VhostProtocolBit.replyAck,
    VhostProtocolBit.backendRequests,
    VhostProtocolBit.config,
    VhostProtocolBit.memorySlots,
  ]);
  #features: FeatureBits = FeatureBits.of([]);
  #protocol: FeatureBits = FeatureBits.of([]);
  #backendChannel: DescriptorStream | undefined;
  #isEnded = false;
  #ringsOpen = 0;

  constructor(stream: DescriptorStream, world: SessionWorld) {
    this.#world = world;
    this.#stream = stream;
    this.#reader = new MessageReader(stream);
    this.#guest = new GuestMemory(world.sections);
    this.#offered = FeatureBits.of([
      ...world.device.featureBits(),
      VirtioBit.ringIndirect,
      VirtioBit.ringEventIndex,
      VirtioBit.protocolFeatures,
      VirtioBit.version1,
    ]);
    this.#rings = Array.from({ length: world.device.queueCount }, (_, index) => {
      const memory = world.takeMemory();
      this.#memories.push(memory);
      return new VhostRing(index, (kick) => this.#queueWorld(kick, memory));
    });
    this.#rules = this.#makeRules();
  }

  start(): void {
    this.#stream.start(this);
  }

  get requests(): number {
    return this.#rings.reduce((count, ring) => count + ring.requests, 0);
  }

  get runningRings(): number {
    return this.#rings.filter((ring) => ring.isRunning).length;
  }

  /** The volume has grown. */
  configChanged(): void {
    if (this.#backendChannel === undefined) return;
    const message = messageOf(VhostBackendRequest.configChanged, 0, new Uint8Array());
    this.#backendChannel.send(message, []);
  }

  /** Takes no requests any more, and ends when those under way are answered. */
  shutDown(): void {
    let waiting = this.#rings.length;
    for (const ring of this.#rings) {
      ring.quiesce(() => {
        if (--waiting === 0) this.end(undefined);
      });
    }
  }

  end(reason: string | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#reader.close();
    this.#stream.close();
    this.#backendChannel?.close();
    this.#ringsOpen = this.#rings.length;
    for (const ring of this.#rings) ring.close(() => this.#ringClosed());
    this.#guest.clear();
    this.#world.ended(this, reason);
  }

  // For the stream.

  readable(): void {
    this.#guarded(() => {
      for (let count = 0; count < MESSAGES_PER_TURN_MAX && !this.#isEnded; count++) {
        const message = this.#reader.next();
        if (message === undefined) return;
        if (message === "end") {
          this.end(undefined);
          return;
        }
        if (!this.#handle(message)) return;
      }
    });
  }

  /** Whatever a client does to us ends its connection, and nothing else. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      for (const ring of this.#rings) ring.signalError();
      this.end(errorText(error));
    }
  }

  /** False if the next message has to wait. */
  #handle(message: VhostMessage): boolean {
    try {
      const rule = this.#rules.get(message.request);
      demand(rule !== undefined, `request ${message.request}, which was not offered`);
      const { bodyBytes, descriptorsMax } = rule;
      const isWhole = bodyBytes === undefined || message.body.length === bodyBytes;
      demand(isWhole, `request ${message.request} with ${message.body.length} bytes`);
      const count = message.descriptors.length;
      demand(count <= descriptorsMax, `request ${message.request} with ${count} descriptors`);
      rule.handle(message);
    } catch (error) {
      if (this.#wantsReply(message)) this.#acknowledge(message, 1);
      throw error;
    } finally {
      for (const descriptor of message.descriptors.splice(0)) descriptor.close();
    }
    if (message.request === VhostRequest.getRingBase) return false;
    if (!hasAnswer(message.request) && this.#wantsReply(message)) this.#acknowledge(message, 0);
    return true;
  }

  #wantsReply({ flags }: VhostMessage): boolean {
    return this.#protocol.has(VhostProtocolBit.replyAck) && (flags & VHOST_FLAG_NEED_REPLY) !== 0;
  }

  #acknowledge(message: VhostMessage, outcome: number): void {
    this.#answer(message, numberBytes(outcome));
  }

  #answer({ request }: VhostMessage, body: Uint8Array, carried: readonly SharedFile[] = []): void {
    if (this.#isEnded) return;
    const isTaken = this.#stream.send(messageOf(request, VHOST_FLAG_REPLY, body), carried);
    if (!isTaken) this.end("the front end does not take its answers");
  }

  #makeRules(): ReadonlyMap<number, Rule> {
    const none = 0;
    const state = VhostRingStateLayout.sizeBytes;
    const slot = VhostMemorySlotLayout.sizeBytes + REGION_BYTES;
    const addresses = VhostRingAddressesLayout.sizeBytes;
    const rule = (
      request: number,
      bodyBytes: number | undefined,
      descriptorsMax: number,
      handle: Handler,
    ): [number, Rule] => [request, { bodyBytes, descriptorsMax, handle }];
    const ignore: Handler = () => undefined;
    return new Map([
      rule(VhostRequest.getFeatures, none, 0, (message) =>
        this.#answer(message, this.#offered.encode()),
      ),
      rule(VhostRequest.setFeatures, NUMBER_BYTES, 0, ({ body }) => this.#setFeatures(body)),
      rule(VhostRequest.getProtocolFeatures, none, 0, (message) =>
        this.#answer(message, this.#protocolOffered.encode()),
      ),
      rule(VhostRequest.setProtocolFeatures, NUMBER_BYTES, 0, ({ body }) => {
        this.#protocol = FeatureBits.chosen(body, this.#protocolOffered);
      }),
      rule(VhostRequest.setOwner, none, 0, ignore),
      rule(VhostRequest.resetOwner, none, 0, () => this.#enableAll(false)),
      rule(VhostRequest.getQueueCount, none, 0, (message) =>
        this.#answer(message, numberBytes(this.#rings.length)),
      ),
      rule(VhostRequest.setMemoryTable, undefined, TABLE_REGIONS_MAX, (message) =>
        this.#setMemoryTable(message),
      ),
      rule(VhostRequest.getMemorySlots, none, 0, (message) =>
        this.#answer(message, numberBytes(MEMORY_REGIONS_MAX)),
      ),
      rule(VhostRequest.addMemory, slot, 1, (message) => this.#addMemory(message)),
      rule(VhostRequest.removeMemory, slot, 1, ({ body }) =>
        this.#guest.remove(regionOf(body, VhostMemorySlotLayout.sizeBytes)),
      ),
      rule(VhostRequest.setRingSize, state, 0, ({ body }) => {
        this.#ringOf(body).size = stateValue(body);
      }),
      rule(VhostRequest.setRingBase, state, 0, ({ body }) => {
        this.#ringOf(body).base = stateValue(body);
      }),
      rule(VhostRequest.setRingAddresses, addresses, 0, ({ body }) => this.#setAddresses(body)),
      rule(VhostRequest.getRingBase, state, 0, (message) => this.#getRingBase(message)),
      rule(VhostRequest.enableRing, state, 0, ({ body }) =>
        this.#ringOf(body).enable(stateValue(body) === 1),
      ),
      rule(VhostRequest.setRingKick, NUMBER_BYTES, 1, (message) => this.#setKick(message)),
      rule(VhostRequest.setRingCall, NUMBER_BYTES, 1, (message) => {
        this.#ringOfEvent(message).call = eventOf(message);
      }),
      rule(VhostRequest.setRingError, NUMBER_BYTES, 1, (message) => {
        this.#ringOfEvent(message).error = eventOf(message);
      }),
      rule(VhostRequest.setBackendChannel, none, 1, (message) => this.#setBackendChannel(message)),
      rule(VhostRequest.getConfig, undefined, 0, (message) => this.#getConfig(message)),
      rule(VhostRequest.setConfig, undefined, 0, ({ body }) => this.#setConfig(body)),
    ]);
  }

  #setFeatures(body: Uint8Array): void {
    this.#features = FeatureBits.chosen(body, this.#offered);
    // Without the protocol's own features, rings are enabled from the start.
    if (!this.#features.has(VirtioBit.protocolFeatures)) this.#enableAll(true);
  }

  #enableAll(isEnabled: boolean): void {
    for (const ring of this.#rings) ring.enable(isEnabled);
  }

  #setMemoryTable({ body, descriptors }: VhostMessage): void {
    const headBytes = VhostMemoryTableLayout.sizeBytes;
    demand(body.length >= headBytes, "a memory table without its head");
    const count = getU32(body, VhostMemoryTableLayout.at.count);
    demand(count <= TABLE_REGIONS_MAX, `a memory table of ${count} regions`);
    demand(descriptors.length === count, `${descriptors.length} descriptors for ${count} regions`);
    demand(body.length >= headBytes + count * REGION_BYTES, "a memory table is cut off");
    this.#guest.clear();
    for (const [i, descriptor] of descriptors.splice(0).entries())
      this.#addRegion(regionOf(body, headBytes + i * REGION_BYTES), descriptor.asFile());
    for (const ring of this.#rings) ring.remap();
  }

  #addMemory({ body, descriptors }: VhostMessage): void {
    const descriptor = descriptors.pop();
    demand(descriptor !== undefined, "a memory region without its descriptor");
    this.#addRegion(regionOf(body, VhostMemorySlotLayout.sizeBytes), descriptor.asFile());
  }

  #addRegion(region: RegionDescription, file: SharedFile): void {
    try {
      this.#guest.add(region, file);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #ringAt(index: number): VhostRing {
    const ring = this.#rings[index];
    demand(ring !== undefined, `ring ${index}, which there is not`);
    return ring;
  }

  /** Of a message with a ring state. */
  #ringOf(body: Uint8Array): VhostRing {
    return this.#ringAt(getU32(body, VhostRingStateLayout.at.index));
  }

  /** Of a message with a ring's descriptor. */
  #ringOfEvent({ body }: VhostMessage): VhostRing {
    return this.#ringAt(getU32(body, 0) & VHOST_RING_INDEX_MASK);
  }

  #setAddresses(body: Uint8Array): void {
    const { at } = VhostRingAddressesLayout;
    this.#ringAt(getU32(body, at.index)).addresses = {
      descriptors: wireU64(body, at.descriptors),
      available: wireU64(body, at.available),
      used: wireU64(body, at.used),
    };
  }

  #setKick(message: VhostMessage): void {
    const ring = this.#ringOfEvent(message);
    const kick = eventOf(message);
    demand(kick !== undefined, "a ring without a kick, which would have to be polled");
    ring.start(
      kick,
      {
        eventIndex: this.#features.has(VirtioBit.ringEventIndex),
        indirect: this.#features.has(VirtioBit.ringIndirect),
      },
      this.#guest,
    );
  }

  /** Nothing more is read until the ring has come to rest. */
  #getRingBase(message: VhostMessage): void {
    const index = getU32(message.body, VhostRingStateLayout.at.index);
    const ring = this.#ringAt(index);
    this.#stream.pause();
    ring.stop((base) => {
      const body = new Uint8Array(VhostRingStateLayout.sizeBytes);
      setU32(body, VhostRingStateLayout.at.index, index);
      setU32(body, VhostRingStateLayout.at.value, base);
      this.#answer(message, body);
      if (!this.#isEnded) this.#stream.resume();
    });
  }

  #setBackendChannel({ descriptors }: VhostMessage): void {
    const descriptor = descriptors.pop();
    demand(descriptor !== undefined, "a channel without its descriptor");
    this.#backendChannel?.close();
    this.#backendChannel = descriptor.asStream();
  }

  #getConfig(message: VhostMessage): void {
    const { offset, sizeBytes } = configPart(message.body);
    const headBytes = VhostConfigLayout.sizeBytes;
    const answer = new Uint8Array(headBytes + sizeBytes);
    answer.set(message.body.subarray(0, headBytes));
    // What a newer front end asks for beyond our fields reads as zeroes: nothing of it is offered.
    const config = this.#world.device.config();
    answer.set(config.subarray(offset, offset + sizeBytes), headBytes);
    this.#answer(message, answer);
  }

  #setConfig(body: Uint8Array): void {
    const { offset, sizeBytes } = configPart(body);
    const headBytes = VhostConfigLayout.sizeBytes;
    const part = body.subarray(headBytes, headBytes + sizeBytes);
    const isTaken = this.#world.device.writeConfig(offset, part);
    demand(isTaken, `a write to the configuration space at ${offset}`);
  }

  #queueWorld(kick: RemoteEvent, memory: ReadMemory): QueueWorld {
    return {
      device: this.#world.device,
      guest: this.#guest,
      memory,
      staging: this.#staging,
      kick,
      violated: (error) => this.#guarded(() => fail(error)),
      volumeGone: (fault) => this.end(`the volume is not served here any more: ${fault}`),
    };
  }

  #ringClosed(): void {
    if (--this.#ringsOpen > 0) return;
    for (const memory of this.#memories.splice(0)) {
      memory.releaseAll();
      this.#world.giveMemory(memory);
    }
    this.#world.drained(this);
  }
}

function fail(error: VhostViolation): never {
  throw error;
}

/** Requests whose answer is something else than an outcome. */
function hasAnswer(request: number): boolean {
  return (
    request === VhostRequest.getFeatures ||
    request === VhostRequest.getProtocolFeatures ||
    request === VhostRequest.getQueueCount ||
    request === VhostRequest.getMemorySlots ||
    request === VhostRequest.getRingBase ||
    request === VhostRequest.getConfig
  );
}

function messageOf(request: number, flags: number, body: Uint8Array): Uint8Array {
  const { at, sizeBytes } = VhostHeaderLayout;
  const message = new Uint8Array(sizeBytes + body.length);
  setU32(message, at.request, request);
  setU32(message, at.flags, VHOST_VERSION | flags);
  setU32(message, at.bodyBytes, body.length);
  message.set(body, sizeBytes);
  return message;
}

function numberBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(NUMBER_BYTES);
  setU32(bytes, 0, value);
  return bytes;
}

function stateValue(body: Uint8Array): number {
  return getU32(body, VhostRingStateLayout.at.value);
}

function regionOf(body: Uint8Array, from: number): RegionDescription {
  const { at } = VhostMemoryRegionLayout;
  return {
    guestAddress: wireU64(body, from + at.guestAddress),
    sizeBytes: wireU64(body, from + at.sizeBytes),
    userAddress: wireU64(body, from + at.userAddress),
    fileOffset: wireU64(body, from + at.fileOffset),
  };
}

function eventOf({ body, descriptors }: VhostMessage): RemoteEvent | undefined {
  const hasNone = (getU32(body, 0) & VHOST_RING_NO_FD) !== 0;
  const descriptor = descriptors.pop();
  demand(hasNone === (descriptor === undefined), "a ring's event without its descriptor");
  return descriptor?.asEvent();
}

function configPart(body: Uint8Array): { offset: number; sizeBytes: number } {
  const headBytes = VhostConfigLayout.sizeBytes;
  demand(body.length > headBytes, "a configuration request without its head");
  const offset = getU32(body, VhostConfigLayout.at.offset);
  const sizeBytes = getU32(body, VhostConfigLayout.at.sizeBytes);
  demand(
    sizeBytes === body.length - headBytes && offset + sizeBytes <= CONFIG_BYTES_MAX,
    `a part of the configuration space of ${sizeBytes} bytes at ${offset}`,
  );
  return { offset, sizeBytes };
}
