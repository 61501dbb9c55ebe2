import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, Prng } from "../base/index.ts";
import {
  component,
  createVolumeRecord,
  EmbeddedDirectory,
  releaseOwnerships,
} from "../cluster/index.ts";
import { findObject } from "../cluster/index.ts";
import { DiskMedium, MetadataMedium, SimDigests, SimDisk, SimLog } from "../sim/index.ts";
import { SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { Device, isClean } from "../store/index.ts";
import { BlockHistory } from "../../test/support/block-history.ts";
import { test } from "../../test/support/test.ts";
import { randomBytes, randomRange, Requests } from "../../test/support/volume-bench.ts";
import { ObjectOwner } from "./object-owner.ts";
import type { OwnerWorld } from "./owner-world.ts";
import { noTraffic } from "./resync-progress.ts";
import type { IoFault } from "./volume-io.ts";
import { TransferMemory } from "./transfer-memory.ts";
import { decideUnused } from "./unused-object.ts";

const CLUSTER = "c1".repeat(16);
const OBJECT = "0b".repeat(16);
const COMPONENT = "a0".repeat(16);
const DEVICE = "d5".repeat(16);
const SEGMENT_BYTES = 2 << 20;
const SIZE_BYTES = 3 * 2 ** 20 + 512;

/** One host on one machine: a device, the embedded directory, and the owner of one volume. */
class OneHost {
  readonly simulation: Simulation;
  readonly #disk: DiskMedium;
  readonly #deviceMetadata = new MetadataMedium();
  readonly #directoryMetadata = new MetadataMedium();
  #isFormatted = false;
  machine: SimMachine;
  device: Device | undefined;
  owner: ObjectOwner | undefined;

  constructor(seed: number, diskBytes: number) {
    this.simulation = new Simulation({ seed });
    this.#disk = new DiskMedium({ sizeBytes: diskBytes });
    this.machine = new SimMachine(this.simulation);
  }

  /** Power is back: a new machine with the media of the old one. */
  powerUp(): void {
    this.machine = new SimMachine(this.simulation);
  }

  async start(): Promise<Requests> {
    const world = await this.open();
    this.owner = await ObjectOwner.take(world, OBJECT, false);
    return new Requests(this.owner.volume);
  }

  /** As `start`, and nobody owns the volume. */
  async open(): Promise<OwnerWorld> {
    const { machine } = this;
    const log = new SimLog(machine.clock);
    const store = new SimMetadataStore(machine, this.#directoryMetadata);
    const directory = await EmbeddedDirectory.open(store, machine.clock);
    const device = await this.#openDevice(log);
    if ((await findObject(directory, CLUSTER, OBJECT)) === undefined) {
      const sizeBytes = Math.ceil(SIZE_BYTES / BLOCK_SIZE_BYTES) * BLOCK_SIZE_BYTES;
      if (device.component(COMPONENT) === undefined)
        await device.createComponent({ componentId: COMPONENT, objectId: OBJECT, sizeBytes });
      await createVolumeRecord(directory, CLUSTER, {
        objectId: OBJECT,
        name: "v",
        sizeBytes: SIZE_BYTES,
        policy: { failuresToTolerate: 0, stripes: 1 },
        tree: component(COMPONENT),
        placement: [{ componentId: COMPONENT, hostId: "h1", deviceId: DEVICE }],
      });
    }
    await releaseOwnerships(directory, CLUSTER, "h1");
    this.device = device;
    return {
      directory,
      clusterId: CLUSTER,
      hostId: "h1",
      nameOf: (id) => id,
      log,
      clock: machine.clock,
      isNear: () => true,
      catchUp: noTraffic(),
      addEvent: () => {},
      allocate: (lengthBytes: number) => device.allocate(lengthBytes),
      transferMemory: new TransferMemory((lengthBytes) => device.allocate(lengthBytes)),
      components: (componentId: string) => device.component(componentId),
      growComponent: (componentId: string, blockCount: number) =>
        device.resizeComponent(componentId, blockCount * BLOCK_SIZE_BYTES),
      isLeaseAlive: () => true,
      isHostAlive: async () => false,
    };
  }

  async #openDevice(log: SimLog): Promise<Device> {
    const { machine } = this;
    const ports = {
      disk: new SimDisk(machine, this.#disk, { alignmentBytes: BLOCK_SIZE_BYTES }),
      metadata: new SimMetadataStore(machine, this.#deviceMetadata),
      digests: new SimDigests(machine, { mode: "fast" }),
      clock: machine.clock,
      log,
    };
    if (!this.#isFormatted)
      await Device.format(ports, {
        clusterId: CLUSTER,
        hostId: "40".repeat(16),
        deviceId: DEVICE,
        journalBytes: 4 * SEGMENT_BYTES,
        segmentBytes: SEGMENT_BYTES,
      });
    this.#isFormatted = true;
    return Device.open(ports, {
      clusterId: CLUSTER,
      journalMemoryBytes: 3 * SEGMENT_BYTES,
      pageCacheBytes: 32 << 10,
      blockCacheBytes: 64 << 10,
    });
  }
}

async function verify(requests: Requests, history: BlockHistory, what: string): Promise<void> {
  const chunkBytes = 16 * BLOCK_SIZE_BYTES;
  for (let offset = 0; offset < SIZE_BYTES; offset += chunkBytes) {
    const length = Math.min(chunkBytes, SIZE_BYTES - offset);
    const { fault, bytes } = await requests.read(offset, length);
    assert.equal(fault, undefined, what);
    for (let at = 0; at < length; at += BLOCK_SIZE_BYTES) {
      const block = (offset + at) / BLOCK_SIZE_BYTES;
      const found = bytes.subarray(at, at + history.lengthOf(block));
      assert.ok(history.settle(block, found), `block ${block}: ${what}`);
    }
  }
}

/** Random changes, several at a time. */
async function work(requests: Requests, history: BlockHistory, prng: Prng): Promise<void> {
  const running = new Set<Promise<void>>();
  for (let i = 0; i < 80; i++) {
    const { offset, lengthBytes } = randomRange(prng, SIZE_BYTES);
    const isWrite = prng.chance(0.75);
    const bytes = isWrite ? randomBytes(prng, lengthBytes) : new Uint8Array(lengthBytes);
    const change = history.change(offset, bytes);
    const answer = isWrite
      ? requests.write(bytes, offset)
      : requests.zero(offset, lengthBytes, prng.chance(0.5));
    const one = answer.then((fault) => {
      assert.equal(fault, undefined);
      history.acknowledge(change);
      running.delete(one);
    });
    running.add(one);
    while (running.size >= 8) await Promise.race(running);
  }
  await Promise.all(running);
}

test("over a device, what was acknowledged outlives power cuts, untorn", async () => {
  let finishedCount = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const prng = new Prng(seed);
    const host = new OneHost(seed, 64 << 20);
    const history = new BlockHistory(SIZE_BYTES);
    for (let life = 0; life < 4; life++) {
      const what = `seed ${seed}, life ${life}`;
      const outcome = await host.machine.run(async () => {
        const requests = await host.start();
        await verify(requests, history, what);
        const at = host.machine.operationCount + 1 + prng.below(50);
        host.machine.cutPowerAt(at, { kind: "random", seed: prng.u32() });
        await work(requests, history, prng);
        finishedCount++;
        if (host.machine.isOn) host.machine.cutPower({ kind: "random", seed: prng.u32() });
      });
      assert.equal(outcome.kind, "power-cut");
      host.powerUp();
    }
    await host.machine.run(async () => {
      const requests = await host.start();
      await verify(requests, history, `seed ${seed}, at the end`);
      await host.owner!.close();
      const device = assertDefined(host.device, "no device");
      await device.destage();
      assert.ok(isClean(await device.scrub()));
    });
  }
  assert.ok(finishedCount < 12, "most lives end in the middle of their work");
});

test("a full device refuses writes, keeps the rest, and goes on after a discard", async () => {
  const prng = new Prng(7);
  // Less room than the volume has.
  const host = new OneHost(7, 8 * SEGMENT_BYTES);
  const outcome = await host.machine.run(async () => {
    const requests = await host.start();
    const owner = host.owner!;
    await owner.resize(32 << 20);
    const written = new Map<number, Uint8Array>();
    let refusedCount = 0;
    for (let offset = 0; offset < owner.volume.sizeBytes; offset += 64 << 10) {
      const bytes = randomBytes(prng, 64 << 10);
      const fault = await requests.write(bytes, offset);
      assert.ok(fault === undefined || fault === "no-space", fault);
      if (fault === undefined) written.set(offset, bytes);
      else refusedCount++;
    }
    assert.ok(written.size > 10 && refusedCount > 10);
    for (const [offset, bytes] of written)
      assert.deepEqual((await requests.read(offset, bytes.length)).bytes, bytes);
    assert.equal(await requests.discard(0, 4 << 20), undefined);
    await host.device!.destage();
    await host.device!.reclaim();
    assert.equal(await requests.write(randomBytes(prng, 64 << 10), 0), undefined);
    assert.equal(await requests.flush(), undefined);
    await owner.close();
  });
  assert.equal(outcome.kind, "done");
});

test("a host that starts decides what nobody uses, and takes nothing from whoever does", async () => {
  const host = new OneHost(3, 64 << 20);
  const bytes = randomBytes(new Prng(3), BLOCK_SIZE_BYTES);
  await host.machine.run(async () => {
    const world = await host.open();
    const owner = await ObjectOwner.take(world, OBJECT, false);
    const requests = new Requests(owner.volume);
    const some = (first: number): Promise<IoFault | undefined>[] =>
      Array.from({ length: 8 }, (_, i) => requests.write(bytes, (first + i) * BLOCK_SIZE_BYTES));
    // A machine that writes while its host still looks for what was left.
    let writing = some(0);
    assert.equal(await writing[0], undefined);
    assert.equal(host.device!.undecided().length, 1);
    await decideUnused(world, OBJECT);
    assert.equal(owner.isOver, false);
    for (const fault of await Promise.all(writing)) assert.equal(fault, undefined);
    writing = some(8);
    assert.equal(await writing[0], undefined);
    host.machine.cutPower({ kind: "random", seed: 3 });
  });
  host.powerUp();
  await host.machine.run(async () => {
    const world = await host.open();
    assert.equal(host.device!.undecided().length, 1);
    await decideUnused(world, OBJECT);
    assert.equal(host.device!.undecided().length, 0);
    const owner = await ObjectOwner.take(world, OBJECT, false);
    const read = await new Requests(owner.volume).read(0, BLOCK_SIZE_BYTES);
    assert.deepEqual(read.bytes, bytes);
    await owner.close();
  });
});
