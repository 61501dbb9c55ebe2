/** Two devices with a component each, between which changes travel. */
import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, Prng } from "../src/base/index.ts";
import { DiskMedium, MetadataMedium, SimDigests, SimDisk, SimLog } from "../src/sim/index.ts";
import { SimMachine, SimMetadataStore, Simulation } from "../src/sim/index.ts";
import { dataBlocksOf } from "../src/store/change-batch.ts";
import { CHANGE_DATA } from "../src/store/component.ts";
import type { ChangeBatch, ComponentFault, TransactionKind } from "../src/store/component.ts";
import { Device } from "../src/store/device.ts";
import { isClean } from "../src/store/scrub-report.ts";
import type { StoreComponent } from "../src/store/store-component.ts";
import { StoreWorld } from "./store-world.ts";
import { DEVICE_GEOMETRY, DEVICE_MEMORY } from "./support/device-sizes.ts";

const CLUSTER_ID = "c1".repeat(16);
const OBJECT_ID = "0b".repeat(16);
const COMPONENT_ID = "a0".repeat(16);
export const BLOCKS: number = 600;
const TAGS = 200;

/** A device with one component, on a machine that may lose power. */
export class Store {
  readonly simulation: Simulation;
  readonly medium: DiskMedium = new DiskMedium({ sizeBytes: 64 << 20 });
  readonly #metadata = new MetadataMedium();
  machine: SimMachine;
  #device: Device | undefined;
  simDisk: SimDisk | undefined;
  #isFormatted = false;

  constructor(simulation: Simulation) {
    this.simulation = simulation;
    this.machine = new SimMachine(simulation);
  }

  get device(): Device {
    return assertDefined(this.#device, "not open");
  }

  get component(): StoreComponent {
    return assertDefined(this.device.component(COMPONENT_ID), "no component");
  }

  async open(deviceId: string): Promise<void> {
    const { machine } = this;
    this.simDisk = new SimDisk(machine, this.medium);
    const ports = {
      disk: this.simDisk,
      metadata: new SimMetadataStore(machine, this.#metadata),
      digests: new SimDigests(machine, { mode: "fast" }),
      clock: machine.clock,
      log: new SimLog(machine.clock),
    };
    const ids = { clusterId: CLUSTER_ID, hostId: "40".repeat(16), deviceId };
    if (!this.#isFormatted) await Device.format(ports, { ...ids, ...DEVICE_GEOMETRY });
    this.#device = await Device.open(ports, { clusterId: CLUSTER_ID, ...DEVICE_MEMORY });
    const sizeBytes = BLOCKS * BLOCK_SIZE_BYTES;
    const made = { componentId: COMPONENT_ID, objectId: OBJECT_ID, sizeBytes };
    if (!this.#isFormatted) await this.#device.createComponent(made);
    this.#isFormatted = true;
  }

  /** Where on the disk a content is that was destaged. */
  homeOf(tag: number): number {
    const block = new Uint8Array(BLOCK_SIZE_BYTES);
    for (let at = this.device.state.superblock.blocksOffset; ; at += BLOCK_SIZE_BYTES) {
      this.medium.copyOut(block, at);
      if (Buffer.compare(block, StoreWorld.content(tag)) === 0) return at;
    }
  }

  /** Everything unflushed is lost; the next machine opens what is left. */
  crash(): void {
    this.machine.cutPower({ kind: "none" });
    this.machine = new SimMachine(this.simulation);
  }

  async write(
    sequence: number,
    blockIndex: number,
    tags: readonly number[],
    kind: TransactionKind = "data",
  ): Promise<void> {
    const source = new Uint8Array(tags.length * BLOCK_SIZE_BYTES);
    tags.forEach((tag, i) => source.set(StoreWorld.content(tag), i * BLOCK_SIZE_BYTES));
    const { component } = this;
    const { epoch } = component.info;
    const fault = await new Promise<ComponentFault | undefined>((resolve) => {
      const shape = { epoch, sequence, kind, blockIndex, blockCount: tags.length };
      const isTaken = component.prepare(
        { ...shape, source, sourceAt: 0 },
        (_token, answer) => resolve(answer),
        0,
      );
      assert.ok(isTaken, "there is room");
      component.submit();
    });
    assert.equal(fault, undefined);
  }

  async contents(): Promise<Uint8Array> {
    const memory = this.device.allocate(BLOCKS * BLOCK_SIZE_BYTES);
    for (let first = 0; first < BLOCKS; first += 100) {
      const fault = await new Promise<ComponentFault | undefined>((resolve) => {
        const at = first * BLOCK_SIZE_BYTES;
        this.component.read(memory, at, first, 100, (_token, answer) => resolve(answer), 0);
        this.component.submit();
      });
      assert.equal(fault, undefined);
    }
    return memory.bytes;
  }
}

interface Traffic {
  sentBlocks: number;
  offeredBlocks: number;
  fromJournal: boolean;
}

/** What an owner does: everything after `since` goes from one to the other. */
export async function catchUp(
  from: Store,
  to: Store,
  since: number,
  blocksMax = 64,
): Promise<Traffic> {
  const traffic: Traffic = { sentBlocks: 0, offeredBlocks: 0, fromJournal: true };
  const { epoch } = from.component.info;
  for (let fromBlock = 0; fromBlock >= 0;) {
    const batch = await from.component.changes({
      epoch,
      since,
      fromBlock,
      toBlock: BLOCKS,
      blocksMax,
      withFingerprints: true,
    });
    assert.ok(dataBlocksOf(batch) <= blocksMax + 1);
    traffic.fromJournal &&= batch.fromJournal;
    traffic.offeredBlocks += dataBlocksOf(batch);
    const { missing } = await to.component.offer(epoch, batch, false);
    const contents = await from.contents();
    traffic.sentBlocks += await send(to, batch, missing, contents);
    fromBlock = batch.nextBlock;
  }
  return traffic;
}

export async function send(
  to: Store,
  batch: ChangeBatch,
  missing: Uint8Array,
  contents: Uint8Array,
): Promise<number> {
  const starts: number[] = [];
  const sequences: number[] = [];
  const payload: number[] = [];
  let index = 0;
  for (const [run, start] of batch.starts.entries()) {
    if (batch.kinds[run] !== CHANGE_DATA) continue;
    for (let block = start; block < start + batch.counts[run]!; block++, index++) {
      if ((missing[index >>> 3]! & (1 << (index & 7))) === 0) continue;
      starts.push(block);
      sequences.push(batch.sequences[run]!);
      const at = block * BLOCK_SIZE_BYTES;
      payload.push(...contents.subarray(at, at + BLOCK_SIZE_BYTES));
    }
  }
  const part: ChangeBatch = {
    starts: Float64Array.from(starts),
    counts: new Float64Array(starts.length).fill(1),
    sequences: Float64Array.from(sequences),
    kinds: new Uint8Array(starts.length),
    fingerprints: new Uint8Array(0),
    nextBlock: -1,
    fromJournal: true,
  };
  await to.component.apply(to.component.info.epoch, part, Uint8Array.from(payload));
  return starts.length;
}

export async function assertEqual(a: Store, b: Store): Promise<void> {
  assert.deepEqual(await a.contents(), await b.contents());
  const regions = Math.ceil(BLOCKS / 256);
  const { epoch } = a.component.info;
  const left = await a.component.digests(epoch, 0, regions);
  assert.deepEqual(left, await b.component.digests(epoch, 0, regions));
  assert.ok(left.some((byte) => byte !== 0));
  for (const store of [a, b]) assert.ok(isClean(await store.device.scrub()));
}

export async function pair(
  seed: number,
  work: (a: Store, b: Store, prng: Prng) => Promise<void>,
): Promise<void> {
  // No time passes while a long chain of promises settles, however long it is.
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const simulation = new Simulation({ seed, turn });
  const a = new Store(simulation);
  const b = new Store(simulation);
  await simulation.run(async () => {
    await a.open("d1".repeat(16));
    await b.open("d2".repeat(16));
    for (const store of [a, b]) await store.component.open(1);
    await work(a, b, new Prng(seed));
  });
}

export async function pass(simulation: Simulation, ms: number): Promise<void> {
  await new Promise<void>((resolve) => void simulation.clock.after(ms, resolve));
}

/** As an owner's write of known bytes. */
export async function overwrite(
  store: Store,
  sequence: number,
  block: number,
  bytes: Uint8Array,
): Promise<void> {
  await store.write(sequence, block, tagsAt(bytes, 0, bytes.length / BLOCK_SIZE_BYTES));
}

/** What `StoreWorld.content` made them of. */
export function tagsAt(bytes: Uint8Array, first: number, count: number): number[] {
  return Array.from({ length: count }, (_none, i) => {
    const at = (first + i) * BLOCK_SIZE_BYTES;
    const block = bytes.subarray(at, at + BLOCK_SIZE_BYTES);
    for (let tag = 0; tag < TAGS; tag++)
      if (Buffer.compare(block, StoreWorld.content(tag)) === 0) return tag;
    throw new Error("a block that nobody wrote");
  });
}

export function randomTags(prng: Prng, length: number): number[] {
  return Array.from({ length }, () => prng.between(1, 60));
}
