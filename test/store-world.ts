/**
 * A device in the simulator with a model beside it. The owner here numbers transactions and commits
 * what is durable, as the object floor does; the model knows for each block what may be read after
 * a crash: the last acknowledged value, or any value sent since.
 */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, Prng } from "../src/base/index.ts";
import {
  DiskMedium,
  MetadataMedium,
  SimDigests,
  SimDisk,
  SimLog,
  SimMachine,
  SimMetadataStore,
  Simulation,
} from "../src/sim/index.ts";
import type { MachineOutcome, SimDigestsOptions } from "../src/sim/index.ts";
import { Device, isClean } from "../src/store/index.ts";
import type { Component, ComponentFault, TransactionKind } from "../src/store/index.ts";
import type { Depot } from "../src/trial/depot.ts";

const CLUSTER_ID = "c1".repeat(16);
const OBJECT_ID = "0b".repeat(16);
const DEVICE_ID = "d5".repeat(16);
const HOST_ID = "40".repeat(16);
/** Small enough that a sweep wraps the journal many times. */
const SEGMENT_BYTES = 2 << 20;

const contents = new Map<number, Uint8Array>();

export interface WorldOptions {
  readonly seed: number;
  /** Of another world, so that both run together. Default: its own. */
  readonly simulation?: Simulation;
  readonly blockCount?: number;
  readonly diskBytes?: number;
  readonly digests?: SimDigestsOptions;
  readonly destageBlocksMax?: number;
  /** By default almost all or only the longest writes of half of the seeds each. */
  readonly placedBlocksMin?: number;
  /** Where memory comes from. Default: new memory. */
  readonly depot?: Depot;
}

/** What may be in a block: a tag of its content, 0 for zeroes. */
interface BlockModel {
  acknowledged: number;
  readonly sent: number[];
}

export class StoreWorld {
  readonly simulation: Simulation;
  readonly disk: DiskMedium;
  readonly metadata: MetadataMedium = new MetadataMedium();
  readonly prng: Prng;
  readonly blockCount: number;
  readonly options: WorldOptions;
  readonly blocks: BlockModel[];
  machine: SimMachine;
  log: SimLog;
  device: Device | undefined;
  component: Component | undefined;
  simDisk: SimDisk | undefined;
  simMetadata: SimMetadataStore | undefined;
  componentId: string = "a0".repeat(16);
  #sequence = 0;
  #done = new Set<number>();
  #committed = 0;
  #epoch = 0;
  #formatted = false;
  faults: ComponentFault[] = [];
  outstanding = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.simulation = options.simulation ?? new Simulation({ seed: options.seed });
    this.prng = new Prng(options.seed ^ 0x5eed);
    this.disk = new DiskMedium({
      sizeBytes: options.diskBytes ?? 64 << 20,
      capacityBytes: 1 << 30,
    });
    this.blockCount = options.blockCount ?? 512;
    this.blocks = Array.from({ length: this.blockCount }, () => ({ acknowledged: 0, sent: [] }));
    this.machine = new SimMachine(this.simulation);
    this.log = new SimLog(this.machine.clock);
  }

  /** A new machine on the same media, as after a power cut. */
  replaceMachine(): void {
    this.machine = new SimMachine(this.simulation);
    this.log = new SimLog(this.machine.clock);
    this.device = undefined;
    this.component = undefined;
  }

  /** Formats at first, opens, takes ownership with a higher epoch, settles the tail. */
  async open(): Promise<void> {
    const { machine } = this;
    const { depot } = this.options;
    this.simDisk = new SimDisk(machine, this.disk, {
      memory: (lengthBytes) => depot?.lend(lengthBytes) ?? new Uint8Array(lengthBytes),
    });
    this.simMetadata = new SimMetadataStore(machine, this.metadata);
    const ports = {
      disk: this.simDisk,
      metadata: this.simMetadata,
      digests: new SimDigests(machine, this.options.digests ?? { mode: "fast" }),
      clock: machine.clock,
      log: this.log,
    };
    if (!this.#formatted) {
      await Device.format(ports, {
        clusterId: CLUSTER_ID,
        hostId: HOST_ID,
        deviceId: DEVICE_ID,
        journalBytes: 4 * SEGMENT_BYTES,
        segmentBytes: SEGMENT_BYTES,
      });
      this.#formatted = true;
    }
    this.device = await Device.open(ports, {
      clusterId: CLUSTER_ID,
      journalMemoryBytes: 3 * SEGMENT_BYTES,
      pageCacheBytes: 32 << 10,
      blockCacheBytes: 64 << 10,
      destageBlocksMax: this.options.destageBlocksMax ?? (this.options.seed % 4 < 2 ? 64 : 4),
      placedBlocksMin: this.options.placedBlocksMin ?? (this.options.seed % 2 === 0 ? 3 : 16),
    });
    this.component =
      this.device.component(this.componentId) ??
      (await this.device.createComponent({
        componentId: this.componentId,
        objectId: OBJECT_ID,
        sizeBytes: this.blockCount * BLOCK_SIZE_BYTES,
      }));
    const opening = await this.component.open(++this.#epoch);
    this.component.commit(this.#epoch, opening.preparedSequence);
    this.#sequence = opening.preparedSequence;
    this.#committed = opening.preparedSequence;
    this.#done.clear();
    this.outstanding = 0;
  }

  /** The content with this tag: 0 is zeroes, others fill the block with words made from the tag. */
  static content(tag: number): Uint8Array {
    const known = contents.get(tag);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(BLOCK_SIZE_BYTES);
    if (tag !== 0) new Prng(tag).fill(bytes);
    contents.set(tag, bytes);
    return bytes;
  }

  /** Sends one transaction. Resolves when it is answered; retries while there is no room. */
  async send(
    kind: TransactionKind,
    blockIndex: number,
    tags: readonly number[],
  ): Promise<ComponentFault | undefined> {
    const { component } = this;
    assert(component !== undefined);
    const source = new Uint8Array(kind === "data" ? tags.length * BLOCK_SIZE_BYTES : 0);
    if (kind === "data")
      tags.forEach((tag, i) => source.set(StoreWorld.content(tag), i * BLOCK_SIZE_BYTES));
    let sequence = 0;
    this.outstanding++;
    const fault = await new Promise<ComponentFault | undefined>((resolve) => {
      const attempt = (): void => {
        const transaction = {
          epoch: this.#epoch,
          sequence: this.#sequence + 1,
          kind,
          blockIndex,
          blockCount: tags.length,
          source,
          sourceAt: 0,
        };
        if (component.prepare(transaction, (_token, answer) => resolve(answer), 0)) {
          sequence = ++this.#sequence;
          tags.forEach((tag, i) => this.blocks[blockIndex + i]!.sent.push(tag));
        } else {
          component.onRoom(attempt);
        }
        component.submit();
      };
      attempt();
    });
    this.outstanding--;
    if (fault === undefined) this.#acknowledge(sequence, blockIndex, tags);
    else this.faults.push(fault);
    return fault;
  }

  #acknowledge(sequence: number, blockIndex: number, tags: readonly number[]): void {
    tags.forEach((tag, i) => {
      const block = this.blocks[blockIndex + i]!;
      block.sent.splice(0, block.sent.indexOf(tag) + 1);
      block.acknowledged = tag;
    });
    this.#done.add(sequence);
    while (this.#done.delete(this.#committed + 1)) this.#committed++;
    this.component!.commit(this.#epoch, this.#committed);
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Nothing may be under way. The fork holds what the component holds now. */
  async fork(componentId: string, isFrozen: boolean): Promise<void> {
    await this.device!.forkComponent({
      componentId,
      objectId: OBJECT_ID,
      sourceId: this.componentId,
      epoch: this.#epoch,
      sequence: this.#committed,
      isFrozen,
    });
  }

  async read(blockIndex: number, blockCount: number, of?: Component): Promise<Uint8Array> {
    const component = of ?? this.component;
    const { device } = this;
    assert(component !== undefined && device !== undefined);
    const memory = device.allocate(blockCount * BLOCK_SIZE_BYTES);
    const fault = await new Promise<ComponentFault | undefined>((resolve) => {
      component.read(memory, 0, blockIndex, blockCount, (_token, answer) => resolve(answer), 0);
      component.submit();
    });
    if (fault !== undefined) throw new Error(`read of block ${blockIndex}: ${fault}`);
    return memory.bytes;
  }

  /**
   * As `read`, into memory that another process scribbles over whenever it may, and sometimes puts
   * right again: after the disk has put blocks there, before they are looked at.
   */
  async readShared(blockIndex: number, blockCount: number): Promise<Uint8Array> {
    const { component, device } = this;
    assert(component !== undefined && device !== undefined);
    const memory = Object.assign(device.allocate(blockCount * BLOCK_SIZE_BYTES), {
      isShared: true,
    });
    const { digests, blockCache } = device.state;
    const crc32c = digests.crc32c.bind(digests);
    const put = blockCache.put.bind(blockCache);
    const scribble = (start: number): void => {
      memory.bytes[start + this.prng.below(BLOCK_SIZE_BYTES)]! ^= 0x55;
    };
    digests.crc32c = (bytes, start, end) => {
      if (bytes === memory.bytes && this.prng.chance(0.3)) scribble(start);
      return crc32c(bytes, start, end);
    };
    blockCache.put = (block, source, at) => {
      const before = source.slice(at, at + BLOCK_SIZE_BYTES);
      if (source === memory.bytes && this.prng.chance(0.3)) scribble(at);
      const start = put(block, source, at);
      // As if nothing had happened.
      source.set(before, at);
      return start;
    };
    try {
      const fault = await new Promise<ComponentFault | undefined>((resolve) => {
        component.read(memory, 0, blockIndex, blockCount, (_token, answer) => resolve(answer), 0);
        component.submit();
      });
      if (fault !== undefined) throw new Error(`read of block ${blockIndex}: ${fault}`);
      return memory.bytes;
    } finally {
      digests.crc32c = crc32c;
      blockCache.put = put;
    }
  }

  /** Every block is what the model allows; what is found becomes the acknowledged value. */
  async verify(): Promise<void> {
    for (let first = 0; first < this.blockCount; first += 64) {
      const count = Math.min(64, this.blockCount - first);
      const bytes = await this.read(first, count);
      for (let i = 0; i < count; i++) {
        const block = this.blocks[first + i]!;
        const allowed = [block.acknowledged, ...block.sent];
        const actual = bytes.subarray(i * BLOCK_SIZE_BYTES, (i + 1) * BLOCK_SIZE_BYTES);
        const found = allowed.find((tag) => Buffer.compare(actual, StoreWorld.content(tag)) === 0);
        assert(found !== undefined, `block ${first + i} holds none of ${JSON.stringify(allowed)}`);
        block.acknowledged = found;
        block.sent.length = 0;
      }
    }
  }

  async scrub(): Promise<void> {
    const isSmall = this.options.seed % 2 === 0;
    const report = await this.device!.scrub(isSmall ? { valuesAtOnce: 7, rangeBlocks: 4000 } : {});
    assert(isClean(report), `scrub: ${JSON.stringify(report)}`);
  }

  run<T>(work: () => Promise<T>): Promise<MachineOutcome<T>> {
    return this.machine.run(work);
  }
}

/**
 * A bounded random workload: `count` transactions, some at once, with reads and destages between.
 */
export async function randomWorkload(world: StoreWorld, count: number): Promise<void> {
  const { prng } = world;
  const underWay: Promise<unknown>[] = [];
  for (let i = 0; i < count; i++) {
    const kind = prng.pick(["data", "data", "data", "data", "discard", "zero"] as const);
    const longest = kind === "data" ? 24 : prng.chance(0.3) ? 200 : 20;
    const length = prng.between(1, Math.min(longest, world.blockCount));
    const first = prng.below(world.blockCount - length + 1);
    // Few different contents, so that duplicates, overwrites and drops to zero references are
    // frequent.
    const tags = Array.from({ length }, () => (kind === "data" ? prng.below(40) : 0));
    underWay.push(world.send(kind, first, tags));
    if (prng.chance(0.3)) await Promise.all(underWay.splice(0));
    if (prng.chance(0.1)) underWay.push(world.device!.destage());
    if (prng.chance(0.02)) underWay.push(world.device!.reclaim());
  }
  await Promise.all(underWay);
}
