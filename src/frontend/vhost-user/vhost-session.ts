/**
 * A front end's connection: answers its messages. Ends by itself when the front end goes, breaks a
 * rule, or when the volume is not served here any more; requests that are under way then are not
 * answered, so that whoever takes them over carries them out.
 */
import { CodedError, errorText, getU32, setU16, setU32, setU64 } from "../../base/index.ts";
import {
  VHOST_FLAG_NEED_REPLY,
  VHOST_FLAG_REPLY,
  VHOST_RING_INDEX_MASK,
  VhostBackendRequest,
  VhostConfigLayout,
  VhostInflightLayout,
  VhostLogLayout,
  VhostMemoryRegionLayout,
  VhostMemorySlotLayout,
  VhostMemoryTableLayout,
  VhostProtocolBit,
  VhostRequest,
  VhostRingAddressesLayout,
  VhostRingStateLayout,
} from "../../format/index.ts";
import type { DescriptorStream, SharedFile } from "../../ports/index.ts";
import type { BlockDevice } from "./block-device.ts";
import { FeatureBits } from "./feature-bits.ts";
import { MEMORY_REGIONS_MAX } from "./guest-memory.ts";
import type { RegionDescription } from "./guest-memory.ts";
import {
  configPart,
  eventOf,
  fileOf,
  inflightOf,
  messageOf,
  NUMBER_BYTES,
  numberBytes,
  regionOf,
  stateValue,
} from "./message-bodies.ts";
import { MessageReader } from "./message-reader.ts";
import type { VhostMessage } from "./message-reader.ts";
import { VhostDisk } from "./vhost-disk.ts";
import type { DiskWorld } from "./vhost-disk.ts";
import type { VhostRing } from "./vhost-ring.ts";
import { demand, everyStep, wireU64 } from "./violation.ts";

/** Descriptors in one message limit the regions of a table. */
const TABLE_REGIONS_MAX = 8;
/** Messages answered in one turn. */
const MESSAGES_PER_TURN_MAX = 64;
const REGION_BYTES = VhostMemoryRegionLayout.sizeBytes;
/** The address of a ring says that writes to its used ring are logged. */
const RING_IS_LOGGED = 1;

export interface SessionWorld extends DiskWorld {
  /**
   * The connection is closed. `reason` tells why, unless the front end went by itself; `fault` is
   * what was thrown, if it was a fault of ours.
   */
  readonly ended: (session: VhostSession, reason: string | undefined, fault: unknown) => void;
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
  readonly #device: BlockDevice;
  readonly #stream: DescriptorStream;
  readonly #reader: MessageReader;
  readonly #disk: VhostDisk;
  readonly #rules: ReadonlyMap<number, Rule>;
  readonly #protocolOffered: FeatureBits = FeatureBits.of([
    VhostProtocolBit.queues,
    VhostProtocolBit.logSharedMemory,
    VhostProtocolBit.replyAck,
    VhostProtocolBit.backendRequests,
    VhostProtocolBit.config,
    VhostProtocolBit.inflight,
    VhostProtocolBit.memorySlots,
  ]);
  #protocol: FeatureBits = FeatureBits.of([]);
  #backendChannel: DescriptorStream | undefined;
  /** The volume's size when the front end last asked, or was told to ask. */
  #sizeKnown: number | undefined;
  #isEnded = false;

  constructor(stream: DescriptorStream, world: SessionWorld) {
    this.#world = world;
    this.#device = world.device;
    this.#stream = stream;
    this.#reader = new MessageReader(stream);
    this.#disk = new VhostDisk(world, {
      failed: (error) => this.#failed(error),
      volumeGone: (fault) => this.end(`the volume is not served here any more: ${fault}`),
    });
    this.#rules = new Map([...this.#featureRules(), ...this.#memoryRules(), ...this.#ringRules()]);
  }

  start(): void {
    this.#guarded(() => this.#stream.start(this));
  }

  get requests(): number {
    return this.#disk.requests;
  }

  get runningRings(): number {
    return this.#disk.runningRings;
  }

  /** The volume has grown. */
  configChanged(): void {
    this.#guarded(() => this.#tellConfigChanged());
  }

  /** Takes no requests any more, and ends when those under way are answered. */
  shutDown(): void {
    this.#guarded(() => this.#disk.quiesce(() => this.end(undefined)));
  }

  end(reason: string | undefined): void {
    this.#end(reason, undefined);
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

  /** Whatever fails on a client's behalf ends its connection, and nothing else. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Throws nothing. */
  #failed(error: unknown): void {
    const isOurs = !(error instanceof CodedError);
    const text = errorText(error);
    try {
      this.#disk.signalError();
    } catch {
      // The connection ends anyway, for what was wrong first.
    }
    if (isOurs) this.#end(`a fault of this host: ${text}`, error);
    else this.#end(text, undefined);
  }

  /** Throws nothing. `fault`: what of ours has failed. */
  #end(reason: string | undefined, fault: unknown): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    // Told after `ended`, even if nothing is under way.
    let isDrained = false;
    let isTold = false;
    const drained = (): void => {
      isDrained = true;
      if (isTold) this.#world.drained(this);
    };
    let cause = { reason, fault };
    try {
      everyStep([
        () => this.#reader.close(),
        () => this.#stream.close(),
        () => this.#backendChannel?.close(),
        () => this.#disk.close(drained),
      ]);
    } catch (error) {
      // Who has been cut off already is so for the first reason.
      cause = {
        reason: reason ?? `a fault of this host at the end: ${errorText(error)}`,
        fault: fault ?? error,
      };
    }
    this.#world.ended(this, cause.reason, cause.fault);
    isTold = true;
    if (isDrained) this.#world.drained(this);
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

  #featureRules(): [number, Rule][] {
    return [
      rule(VhostRequest.getFeatures, 0, 0, (message) =>
        this.#answer(message, this.#disk.offered.encode()),
      ),
      rule(VhostRequest.setFeatures, NUMBER_BYTES, 0, ({ body }) =>
        this.#disk.chooseFeatures(body),
      ),
      rule(VhostRequest.getProtocolFeatures, 0, 0, (message) =>
        this.#answer(message, this.#protocolOffered.encode()),
      ),
      rule(VhostRequest.setProtocolFeatures, NUMBER_BYTES, 0, ({ body }) => {
        this.#protocol = FeatureBits.chosen(body, this.#protocolOffered);
      }),
      rule(VhostRequest.setOwner, 0, 0, () => undefined),
      rule(VhostRequest.resetOwner, 0, 0, () => this.#disk.enableAll(false)),
      rule(VhostRequest.getQueueCount, 0, 0, (message) =>
        this.#answer(message, numberBytes(this.#disk.ringCount)),
      ),
      rule(VhostRequest.setBackendChannel, 0, 1, (message) => this.#setBackendChannel(message)),
      rule(VhostRequest.getConfig, undefined, 0, (message) => this.#getConfig(message)),
      rule(VhostRequest.setConfig, undefined, 0, ({ body }) => this.#setConfig(body)),
    ];
  }

  #memoryRules(): [number, Rule][] {
    const slot = VhostMemorySlotLayout.sizeBytes + REGION_BYTES;
    return [
      rule(VhostRequest.setMemoryTable, undefined, TABLE_REGIONS_MAX, (message) =>
        this.#setMemoryTable(message),
      ),
      rule(VhostRequest.getMemorySlots, 0, 0, (message) =>
        this.#answer(message, numberBytes(MEMORY_REGIONS_MAX)),
      ),
      rule(VhostRequest.addMemory, slot, 1, (message) => {
        const region = regionOf(message.body, VhostMemorySlotLayout.sizeBytes);
        this.#disk.addMemory(region, fileOf(message));
      }),
      rule(VhostRequest.removeMemory, slot, 1, ({ body }) =>
        this.#disk.guest.remove(regionOf(body, VhostMemorySlotLayout.sizeBytes)),
      ),
      rule(VhostRequest.setLogBase, VhostLogLayout.sizeBytes, 1, (message) => {
        const { at } = VhostLogLayout;
        const fileOffset = wireU64(message.body, at.fileOffset);
        this.#disk.useLog(fileOf(message), fileOffset, wireU64(message.body, at.sizeBytes));
        this.#acknowledge(message, 0);
      }),
      // We tell nobody that the log has changed: front ends look at it by themselves.
      rule(VhostRequest.setLogFd, 0, 1, () => undefined),
      rule(VhostRequest.getInflight, undefined, 0, (message) => this.#getInflight(message)),
      rule(VhostRequest.setInflight, undefined, 1, (message) => {
        const place = inflightOf(message.body);
        this.#disk.useInflight(fileOf(message), place);
      }),
    ];
  }

  #ringRules(): [number, Rule][] {
    const state = VhostRingStateLayout.sizeBytes;
    const addresses = VhostRingAddressesLayout.sizeBytes;
    return [
      rule(VhostRequest.setRingSize, state, 0, ({ body }) => {
        this.#ringOf(body).size = stateValue(body);
      }),
      rule(VhostRequest.setRingBase, state, 0, ({ body }) => {
        this.#ringOf(body).base = stateValue(body);
      }),
      rule(VhostRequest.setRingAddresses, addresses, 0, ({ body }) => this.#setAddresses(body)),
      rule(VhostRequest.getRingBase, state, 0, (message) => this.#getRingBase(message)),
      rule(VhostRequest.enableRing, state, 0, ({ body }) => {
        this.#ringOf(body).enable(stateValue(body) === 1);
        this.#tellMissedGrowth();
      }),
      rule(VhostRequest.setRingKick, NUMBER_BYTES, 1, (message) => this.#setKick(message)),
      rule(VhostRequest.setRingCall, NUMBER_BYTES, 1, (message) => {
        this.#ringOfEvent(message).call = eventOf(message);
      }),
      rule(VhostRequest.setRingError, NUMBER_BYTES, 1, (message) => {
        this.#ringOfEvent(message).error = eventOf(message);
      }),
    ];
  }

  #setMemoryTable({ body, descriptors }: VhostMessage): void {
    const headBytes = VhostMemoryTableLayout.sizeBytes;
    demand(body.length >= headBytes, "a memory table without its head");
    const count = getU32(body, VhostMemoryTableLayout.at.count);
    demand(count <= TABLE_REGIONS_MAX, `a memory table of ${count} regions`);
    demand(descriptors.length === count, `${descriptors.length} descriptors for ${count} regions`);
    demand(body.length >= headBytes + count * REGION_BYTES, "a memory table is cut off");
    const regions: [RegionDescription, SharedFile][] = [];
    try {
      for (let i = 0; i < count; i++) {
        const descriptor = descriptors.shift();
        demand(descriptor !== undefined, "a memory region without its descriptor");
        regions.push([regionOf(body, headBytes + i * REGION_BYTES), descriptor.asFile()]);
      }
    } catch (error) {
      for (const [, file] of regions) file.close();
      throw error;
    }
    this.#disk.describeMemory(regions);
  }

  #getInflight(message: VhostMessage): void {
    const { queueCount, queueSize } = inflightOf(message.body);
    const { file, sizeBytes } = this.#disk.makeInflight(queueCount, queueSize);
    const { at } = VhostInflightLayout;
    const body = new Uint8Array(message.body.length);
    setU64(body, at.sizeBytes, sizeBytes);
    setU64(body, at.fileOffset, 0);
    setU16(body, at.queueCount, queueCount);
    setU16(body, at.queueSize, queueSize);
    this.#answer(message, body, [file]);
    file.close();
  }

  /** Of a message with a ring state. */
  #ringOf(body: Uint8Array): VhostRing {
    return this.#disk.ring(getU32(body, VhostRingStateLayout.at.index));
  }

  /** Of a message with a ring's descriptor. */
  #ringOfEvent({ body }: VhostMessage): VhostRing {
    return this.#disk.ring(getU32(body, 0) & VHOST_RING_INDEX_MASK);
  }

  #setAddresses(body: Uint8Array): void {
    const { at } = VhostRingAddressesLayout;
    const isLogged = (getU32(body, at.flags) & RING_IS_LOGGED) !== 0;
    this.#disk.placeRing(getU32(body, at.index), {
      descriptors: wireU64(body, at.descriptors),
      available: wireU64(body, at.available),
      used: wireU64(body, at.used),
      logAddress: isLogged ? wireU64(body, at.log) : undefined,
    });
  }

  #setKick(message: VhostMessage): void {
    this.#ringOfEvent(message);
    const kick = eventOf(message);
    demand(kick !== undefined, "a ring without a kick, which would have to be polled");
    this.#disk.startRing(getU32(message.body, 0) & VHOST_RING_INDEX_MASK, kick);
    this.#tellMissedGrowth();
  }

  /** Nothing more is read until the ring has come to rest. */
  #getRingBase(message: VhostMessage): void {
    const index = getU32(message.body, VhostRingStateLayout.at.index);
    const ring = this.#disk.ring(index);
    this.#stream.pause();
    ring.stop((base) => {
      const body = new Uint8Array(VhostRingStateLayout.sizeBytes);
      setU32(body, VhostRingStateLayout.at.index, index);
      setU32(body, VhostRingStateLayout.at.value, base);
      this.#answer(message, body);
      if (!this.#isEnded) this.#stream.resume();
    });
  }

  /**
   * QEMU looks at the configuration before it connects to a guest for the first time, and not when
   * it connects again; what it is told before its rings run it forgets. So a growth that it cannot
   * have seen is told when they do.
   */
  #tellMissedGrowth(): void {
    const isKnown = this.#sizeKnown === this.#device.volume.sizeBytes;
    if (this.#disk.isServing && !isKnown) this.#tellConfigChanged();
  }

  #tellConfigChanged(): void {
    const channel = this.#backendChannel;
    if (channel === undefined || this.#isEnded) return;
    const message = messageOf(VhostBackendRequest.configChanged, 0, new Uint8Array());
    // Connected again, it is told anew.
    if (!channel.send(message, [])) this.end("the front end does not take what it is told");
    else if (this.#disk.isServing) this.#sizeKnown = this.#device.volume.sizeBytes;
  }

  #setBackendChannel({ descriptors }: VhostMessage): void {
    const descriptor = descriptors.pop();
    demand(descriptor !== undefined, "a channel without its descriptor");
    const channel = descriptor.asStream();
    this.#backendChannel?.close();
    this.#backendChannel = channel;
  }

  #getConfig(message: VhostMessage): void {
    const { offset, sizeBytes } = configPart(message.body);
    const headBytes = VhostConfigLayout.sizeBytes;
    const answer = new Uint8Array(headBytes + sizeBytes);
    answer.set(message.body.subarray(0, headBytes));
    // What a newer front end asks for beyond our fields reads as zeroes: nothing of it is offered.
    const config = this.#device.config();
    this.#sizeKnown = this.#device.volume.sizeBytes;
    answer.set(config.subarray(offset, offset + sizeBytes), headBytes);
    this.#answer(message, answer);
  }

  #setConfig(body: Uint8Array): void {
    const { offset, sizeBytes } = configPart(body);
    const headBytes = VhostConfigLayout.sizeBytes;
    const part = body.subarray(headBytes, headBytes + sizeBytes);
    const isTaken = this.#device.writeConfig(offset, part);
    demand(isTaken, `a write to the configuration space at ${offset}`);
  }
}

function rule(
  request: number,
  bodyBytes: number | undefined,
  descriptorsMax: number,
  handle: Handler,
): [number, Rule] {
  return [request, { bodyBytes, descriptorsMax, handle }];
}

/** Requests whose answer is something else than an outcome. */
function hasAnswer(request: number): boolean {
  return (
    request === VhostRequest.getFeatures ||
    request === VhostRequest.getProtocolFeatures ||
    request === VhostRequest.getQueueCount ||
    request === VhostRequest.getMemorySlots ||
    request === VhostRequest.getRingBase ||
    request === VhostRequest.getConfig ||
    request === VhostRequest.setLogBase ||
    request === VhostRequest.getInflight
  );
}
