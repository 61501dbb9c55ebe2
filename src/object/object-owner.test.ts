import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, Prng } from "../base/index.ts";
import {
  component,
  createVolumeRecord,
  deleteVolumeRecord,
  EmbeddedDirectory,
} from "../cluster/index.ts";
import { findObject, growVolumeRecord, leavesOf, mirror, swapObject } from "../cluster/index.ts";
import { witness } from "../cluster/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import { MetadataMedium, SimLog, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { BlockHistory } from "../../test/support/block-history.ts";
import { FakeComponent, fakeMemory } from "../../test/support/fake-component.ts";
import { test } from "../../test/support/test.ts";
import { randomBytes, randomRange, Requests, runUntil } from "../../test/support/volume-bench.ts";
import { ObjectLayout } from "./object-layout.ts";
import { ObjectOwner } from "./object-owner.ts";
import { ScratchBlocks } from "./scratch-blocks.ts";
import { TransferMemory } from "./transfer-memory.ts";
import type { OwnerWorld } from "./owner-world.ts";
import { noTraffic } from "./resync-progress.ts";
import type { VolumeIo } from "./volume-io.ts";

const CLUSTER = "c1";
const SIZE_BYTES = 2 ** 18 + 512;
/** What a new owner leaves out, so that no number is used twice. */
const NUMBERING_GAP = 1024;

class World {
  readonly prng: Prng;
  readonly simulation: Simulation;
  readonly log: SimLog;
  readonly fakes = new Map<string, FakeComponent>();
  readonly deadHosts = new Set<string>();
  readonly grown: string[] = [];
  readonly directory: EmbeddedDirectory;
  readonly events: string[] = [];
  leaseIsAlive = true;

  private constructor(seed: number, simulation: Simulation, directory: EmbeddedDirectory) {
    this.prng = new Prng(seed);
    this.simulation = simulation;
    this.log = new SimLog(simulation.clock);
    this.directory = directory;
  }

  static async of(tree: TreeNode, seed = 1): Promise<World> {
    const simulation = new Simulation({ seed });
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const world = new World(seed, simulation, await EmbeddedDirectory.open(store, machine.clock));
    const sizes = new ObjectLayout(tree).componentSizes(Math.ceil(SIZE_BYTES / BLOCK_SIZE_BYTES));
    for (const { componentId } of leavesOf(tree)) {
      const blockCount = sizes.get(componentId) ?? 0;
      world.fakes.set(componentId, new FakeComponent(componentId, blockCount, world.prng.fork()));
    }
    const creating = createVolumeRecord(world.directory, CLUSTER, {
      objectId: "o1",
      name: "v",
      sizeBytes: SIZE_BYTES,
      policy: { failuresToTolerate: 0, stripes: 1 },
      tree,
      placement: leavesOf(tree).map(({ componentId }) => ({
        componentId,
        hostId: "h1",
        deviceId: "d1",
      })),
    });
    await simulation.run(creating);
    return world;
  }

  asHost(hostId: string): OwnerWorld {
    return {
      directory: this.directory,
      clusterId: CLUSTER,
      hostId,
      nameOf: (id) => id,
      log: this.log,
      clock: this.simulation.clock,
      isNear: () => false,
      catchUp: noTraffic(),
      addEvent: ({ kind }) => void this.events.push(kind),
      allocate: fakeMemory,
      transferMemory: new TransferMemory(fakeMemory),
      components: (componentId) => this.fakes.get(componentId),
      growComponent: async (componentId, blockCount) => {
        this.grown.push(`${componentId} ${blockCount}`);
        assertDefined(this.fakes.get(componentId), "no such component").blockCount = blockCount;
      },
      isLeaseAlive: () => this.leaseIsAlive,
      isHostAlive: async (owner) => !this.deadHosts.has(owner),
    };
  }

  take(hostId = "h1"): Promise<ObjectOwner> {
    return this.simulation.run(ObjectOwner.take(this.asHost(hostId), "o1", false));
  }

  /** Runs components until the promise settles. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const note = (): void => void (isSettled = true);
    promise.then(note, note);
    await runUntil([...this.fakes.values()], this.prng, () => isSettled);
    return promise;
  }
}

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof CodedError && error.code === code;

test("the next owner finds what was acknowledged, and blocks in flight whole or not", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = await World.of(component("a"), seed);
    const fake = world.fakes.get("a")!;
    fake.refusal = seed % 2 === 0 ? 0.2 : 0;
    const history = new BlockHistory(SIZE_BYTES);
    let living: VolumeIo | undefined;
    for (let life = 0; life < 4; life++) {
      const owner = await world.take();
      living = owner.volume;
      assert.equal(owner.epoch, life + 1);
      const requests = new Requests(owner.volume);
      for (let block = 0; block < history.blockCount; block++) {
        const reading = requests.read(block * BLOCK_SIZE_BYTES, history.lengthOf(block));
        const { bytes } = await world.settle(reading);
        assert.ok(history.settle(block, bytes), `block ${block}, life ${life}, seed ${seed}`);
      }
      for (let i = 0; i < 60; i++) {
        const { offset, lengthBytes } = randomRange(world.prng, SIZE_BYTES);
        const bytes = randomBytes(world.prng, lengthBytes);
        const change = history.change(offset, bytes);
        void requests.write(bytes, offset).then((fault) => {
          // The dead owner's requests are refused once its successor is known: nobody hears of it.
          if (owner.volume !== living) return;
          assert.equal(fault, undefined);
          history.acknowledge(change);
        });
        await runUntil([fake], world.prng, () => requests.pendingCount < 8);
      }
      fake.crash();
      living = undefined;
    }
  }
});

test("an owner says what it owns, and its record says who owns it", async () => {
  const world = await World.of(component("a"));
  const owner = await world.take();
  const requests = new Requests(owner.volume);
  await world.settle(requests.write(new Uint8Array(4096), 0));
  assert.deepEqual(owner.state, {
    objectId: "o1",
    name: "v",
    sizeBytes: SIZE_BYTES,
    epoch: 1,
    owner: "h1",
    accessible: true,
    reason: undefined,
    tree: component("a"),
    components: [
      {
        componentId: "a",
        hostId: "h1",
        deviceId: "d1",
        state: { kind: "active" },
        sequence: NUMBERING_GAP + 1,
        isCatchingUp: false,
      },
    ],
  });
  assert.equal((await findObject(world.directory, CLUSTER, "o1"))?.record.owner, "h1");
  const deleting = deleteVolumeRecord(world.directory, CLUSTER, "v");
  await assert.rejects(world.simulation.run(deleting), hasCode("volume-in-use"));
  await world.simulation.run(owner.close());
  await owner.close();
  assert.equal(owner.state.accessible, false);
  const { record } = assertDefined(await findObject(world.directory, CLUSTER, "o1"), "no record");
  assert.deepEqual([record.owner, record.epoch], [undefined, 1]);
  assert.equal(await requests.flush(), "shutting-down");
  await world.simulation.run(deleteVolumeRecord(world.directory, CLUSTER, "v"));
  await assert.rejects(world.take(), hasCode("volume-not-found"));
});

test("a volume is taken from a dead host, never from one that is alive", async () => {
  const world = await World.of(component("a"));
  const first = await world.take("h1");
  await assert.rejects(world.take("h2"), hasCode("volume-in-use"));
  world.deadHosts.add("h1");
  const reasons: string[] = [];
  first.onStopped((reason) => reasons.push(reason));
  const old = new Requests(first.volume);
  const inFlight = old.write(new Uint8Array(4096).fill(1), 0);
  const second = await world.take("h2");
  assert.equal(second.epoch, 2);
  assert.equal(await world.settle(inFlight), "not-owner");
  assert.equal(reasons.length, 1);
  assert.equal(first.state.accessible, false);
  assert.equal((await old.read(0, 512)).fault, "not-owner");
  const { bytes } = await world.settle(new Requests(second.volume).read(0, 4096));
  assert.ok(bytes.every((byte) => byte === 0));
  await world.simulation.run(first.close());
  assert.equal((await findObject(world.directory, CLUSTER, "o1"))?.record.owner, "h2");
});

test("an owner learns from the directory that it was replaced, without any I/O", async () => {
  const world = await World.of(component("a"));
  const first = await world.take("h1");
  world.deadHosts.add("h1");
  await world.take("h2");
  assert.match(first.state.reason ?? "", /another host/);
  assert.equal(await new Requests(first.volume).write(new Uint8Array(512), 0), "not-owner");
});

test("an owner whose directory has forgotten old changes goes on following it, from now on", async () => {
  const world = await World.of(component("a"));
  const { directory } = world;
  const watch = directory.watch.bind(directory);
  let forgotten = 0;
  let watches = 0;
  let lose = (): void => {};
  directory.watch = (prefix, fromRevision, onEvent, onLost) => {
    assert.ok(++watches < 10, "the owner runs in circles");
    lose = onLost;
    if (fromRevision > forgotten) return watch(prefix, fromRevision, onEvent, onLost);
    void Promise.resolve().then(onLost);
    return { cancel: () => {} };
  };
  const owner = await world.take("h1");
  const writing = directory.transact([], [{ kind: "put", key: "other", value: "" }]);
  forgotten = (await world.simulation.run(writing)).revision;
  lose();
  await world.simulation.runForMs(1000);
  assert.equal(watches, 2);
  assert.equal(owner.state.reason, undefined);
  world.deadHosts.add("h1");
  await world.take("h2");
  assert.match(owner.state.reason ?? "", /another host/);
});

test("an owner whose directory is away serves on, and follows it once it is back", async () => {
  const world = await World.of(component("a"));
  const { directory } = world;
  const [watch, list] = [directory.watch.bind(directory), directory.list.bind(directory)];
  let lose = (): void => {};
  directory.watch = (prefix, fromRevision, onEvent, onLost) => {
    lose = onLost;
    return watch(prefix, fromRevision, onEvent, onLost);
  };
  let isAway = true;
  directory.list = async (prefix) => {
    if (isAway) throw new CodedError({ code: "directory-unavailable", message: "it is away" });
    return await list(prefix);
  };
  const owner = await world.take("h1");
  lose();
  await world.simulation.runForMs(10_000);
  assert.equal(owner.state.reason, undefined);
  isAway = false;
  await world.simulation.runForMs(1000);
  world.deadHosts.add("h1");
  await world.take("h2");
  assert.match(owner.state.reason ?? "", /another host/);
});

test("an object whose component is missing is inaccessible and says why", async () => {
  const world = await World.of(component("a"));
  const fake = world.fakes.get("a")!;
  world.fakes.delete("a");
  await assert.rejects(
    world.take(),
    (error) => hasCode("object-inaccessible")(error) && /component a/.test(String(error)),
  );
  assert.equal((await findObject(world.directory, CLUSTER, "o1"))?.record.owner, undefined);
  world.fakes.set("a", fake);
  assert.equal((await world.take()).epoch, 2);
  fake.takeOver();
  fake.takeOver();
  await assert.rejects(world.take(), hasCode("not-owner"));
});

test("a mirror is served by what is left, and what is missing is stale first", async () => {
  const tree = mirror([component("a"), component("b"), witness("w")]);
  const world = await World.of(tree);
  const owner = await world.take();
  const requests = new Requests(owner.volume);
  await world.settle(requests.write(new Uint8Array(4096).fill(7), 4096));
  await world.simulation.run(owner.close());
  world.fakes.delete("a");
  const second = await world.take();
  assert.deepEqual(
    second.state.components.map(({ state }) => state),
    [{ kind: "stale", since: NUMBERING_GAP + 1 }, { kind: "active" }, { kind: "active" }],
  );
  const { bytes } = await world.settle(new Requests(second.volume).read(4096, 4096));
  assert.ok(bytes.every((byte) => byte === 7));
  await world.simulation.run(second.close());
  world.fakes.delete("w");
  await assert.rejects(
    world.take(),
    (error) => hasCode("object-inaccessible")(error) && /1 of 3 votes/.test(String(error)),
  );
});

test("a copy that came back without what it held is not read while the directory still calls it good", async () => {
  const world = await World.of(mirror([component("a"), component("b"), witness("w")]));
  const { directory } = world;
  const owner = await world.take();
  const requests = new Requests(owner.volume);
  const bytes = randomBytes(world.prng, BLOCK_SIZE_BYTES);
  assert.equal(await world.settle(requests.write(bytes, 0)), undefined);
  const transact = directory.transact.bind(directory);
  const held: (() => void)[] = [];
  directory.transact = async (conditions, writes) => {
    await new Promise<void>((resolve) => held.push(resolve));
    return await transact(conditions, writes);
  };
  const a = assertDefined(world.fakes.get("a"), "it is there");
  a.isComplete = false;
  a.isOpen = false;
  let reads = 0;
  a.readFaultOf = () => {
    reads++;
    return undefined;
  };
  await world.simulation.runForMs(1000);
  assert.equal(a.isOpen, true);
  assert.equal(held.length, 1, "the directory is told that it is stale");
  const read = await world.settle(requests.read(0, BLOCK_SIZE_BYTES));
  assert.deepEqual(read.bytes, bytes);
  assert.equal(reads, 0);
  for (const resolve of held) resolve();
});

test("a copy whose way broke before it heard what is decided hears it when it is back", async () => {
  const world = await World.of(mirror([component("a"), component("b"), witness("w")]));
  const owner = await world.take();
  const requests = new Requests(owner.volume);
  const a = assertDefined(world.fakes.get("a"), "it is there");
  const before = a.committedSequence;
  assert.equal(await world.settle(requests.write(new Uint8Array(4096).fill(7), 0)), undefined);
  const decided = assertDefined(world.fakes.get("b"), "it is there").committedSequence;
  assert.ok(decided > before);
  // Its host has started anew, and what it had heard last is not in its journal.
  a.committedSequence = before;
  a.isOpen = false;
  await world.simulation.runForMs(1000);
  assert.equal(a.isOpen, true);
  assert.equal(a.committedSequence, decided);
  assert.deepEqual(
    owner.state.components.map(({ state }) => state.kind),
    ["active", "active", "active"],
  );
});

test("no number is used that a returning copy knows as decided, although no other copy ever had it", async () => {
  const world = await World.of(mirror([component("a"), component("b"), witness("w")]));
  const a = assertDefined(world.fakes.get("a"), "it is there");
  const b = assertDefined(world.fakes.get("b"), "it is there");
  world.fakes.delete("b");
  const owner = await world.take();
  assert.equal(owner.state.components[1]!.state.kind, "stale");
  // Writes that failed for want of room everywhere were decided; only b, catching up, heard of it.
  b.preparedSequence = 9000;
  b.committedSequence = 9000;
  world.fakes.set("b", b);
  const requests = new Requests(owner.volume);
  await world.simulation.runForMs(3000);
  assert.deepEqual(owner.state.components[1]!.state, { kind: "active" });
  assert.equal(await world.settle(requests.write(new Uint8Array(4096), 4096)), undefined);
  assert.ok(a.preparedSequence > 9000 && b.preparedSequence === a.preparedSequence);
});

test("an owner whom its own change is confirmed late keeps what others have changed since", async () => {
  const world = await World.of(component("a"));
  const { directory, simulation } = world;
  const owner = await world.take();
  const transact = directory.transact.bind(directory);
  const changed = { failuresToTolerate: 0, stripes: 2 };
  directory.transact = async (conditions, writes) => {
    directory.transact = transact;
    const outcome = await transact(conditions, writes);
    const stored = assertDefined(await findObject(directory, CLUSTER, "o1"), "it is there");
    await swapObject(directory, CLUSTER, stored, { ...stored.record, policy: changed });
    await new Promise<void>((resolve) => void simulation.clock.after(100, resolve));
    return outcome;
  };
  const sizeBytes = 2 ** 20;
  await simulation.run(owner.resize(sizeBytes));
  assert.equal(owner.record.sizeBytes, sizeBytes);
  assert.deepEqual(owner.record.policy, changed);
});

test("a volume grows while in use, components first, and new space is zeroes", async () => {
  const world = await World.of(component("a"));
  const owner = await world.take();
  const requests = new Requests(owner.volume);
  await world.settle(requests.write(new Uint8Array(512).fill(1), SIZE_BYTES - 512));
  const sizeBytes = 3 * 2 ** 20;
  await world.simulation.run(owner.resize(sizeBytes));
  assert.deepEqual(world.grown, ["a 768"]);
  assert.equal(owner.volume.sizeBytes, sizeBytes);
  assert.equal((await findObject(world.directory, CLUSTER, "o1"))?.record.sizeBytes, sizeBytes);
  const { bytes } = await world.settle(requests.read(SIZE_BYTES - 512, 4096));
  assert.ok(bytes.subarray(0, 512).every((byte) => byte === 1));
  assert.ok(bytes.subarray(512).every((byte) => byte === 0));
  await world.settle(requests.write(new Uint8Array(512), sizeBytes - 512));
  await assert.rejects(owner.resize(SIZE_BYTES), hasCode("volume-shrink-unsupported"));
  await assert.rejects(owner.resize(sizeBytes + 1), hasCode("volume-size-invalid"));
  await world.simulation.run(owner.close());
  const growing = growVolumeRecord(world.directory, CLUSTER, "v", 2 * sizeBytes);
  await world.simulation.run(growing);
  await assert.rejects(world.take(), hasCode("component-too-small"));
});

test("what was owned is let go of, whichever way it ends", async () => {
  const world = await World.of(component("a"));
  const owned = new Set<unknown>();
  const onTaken = (owner: unknown): (() => void) => {
    owned.add(owner);
    return () => void owned.delete(owner);
  };
  const taking = (hostId: string): Promise<ObjectOwner> =>
    world.simulation.run(ObjectOwner.take({ ...world.asHost(hostId), onTaken }, "o1", false));
  for (let round = 0; round < 10; round++) {
    const owner = await taking("h1");
    assert.equal(owned.size, 1, "an object that is owned is known");
    await world.simulation.run(owner.close());
    assert.equal(owned.size, 0);
  }
  await taking("h1");
  world.deadHosts.add("h1");
  await taking("h2");
  assert.equal(owned.size, 1, "the one that was replaced is not kept");
});

test("owners that share their scratch blocks allocate them once, however often the object is taken", async () => {
  const world = await World.of(component("a"));
  let allocatedCount = 0;
  const scratch = new ScratchBlocks((lengthBytes) => {
    allocatedCount++;
    return fakeMemory(lengthBytes);
  });
  for (let round = 0; round < 10; round++) {
    const taking = ObjectOwner.take({ ...world.asHost("h1"), scratch }, "o1", false);
    const owner = await world.simulation.run(taking);
    const requests = new Requests(owner.volume);
    assert.equal(
      await world.settle(requests.write(new Uint8Array(512).fill(round), 512)),
      undefined,
    );
    const { bytes } = await world.settle(requests.read(512, 512));
    assert.ok(bytes.every((byte) => byte === round));
    await world.simulation.run(owner.close());
  }
  assert.equal(allocatedCount, 1);
});
