import assert from "node:assert/strict";
import { test } from "node:test";
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, Prng } from "../base/index.ts";
import {
  component,
  createVolumeRecord,
  EmbeddedDirectory,
  findObject,
  leavesOf,
  mirror,
  stripe,
  witness,
} from "../cluster/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import type { Directory } from "../ports/index.ts";
import { DiskMedium, MetadataMedium, SimDigests, SimDisk, SimLog } from "../sim/index.ts";
import { SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { Device, isClean } from "../store/index.ts";
import { BlockHistory } from "../../test/support/block-history.ts";
import { CutComponent } from "../../test/support/cut-component.ts";
import { fakeMemory } from "../../test/support/fake-component.ts";
import { randomBytes, randomRange, Requests } from "../../test/support/volume-bench.ts";
import { ObjectLayout } from "./object-layout.ts";
import { ObjectOwner } from "./object-owner.ts";
import { TransferMemory } from "./transfer-memory.ts";
import { ALL_RULES } from "./owner-world.ts";
import type { OwnerRules, OwnerWorld } from "./owner-world.ts";

const CLUSTER = "c1".repeat(16);
const OBJECT = "0b".repeat(16);
const SEGMENT_BYTES = 2 << 20;
const SIZE_BYTES = 5 * 2 ** 20 + 512;
const SIZE_BLOCKS = Math.ceil(SIZE_BYTES / BLOCK_SIZE_BYTES);

const id = (letter: string): string => letter.repeat(32);

/** A host with one device that holds the one component of its letter. */
class Host {
  readonly letter: string;
  readonly #simulation: Simulation;
  readonly #blockCount: number;
  readonly #disk = new DiskMedium({ sizeBytes: 64 << 20 });
  readonly #metadata = new MetadataMedium();
  /** The way of the owner that there is now. */
  way: CutComponent;
  machine: SimMachine;
  device: Device | undefined;
  #isFormatted = false;

  constructor(letter: string, blockCount: number, simulation: Simulation) {
    this.letter = letter;
    this.#simulation = simulation;
    this.#blockCount = blockCount;
    this.machine = new SimMachine(simulation);
    this.way = this.newWay();
  }

  newWay(): CutComponent {
    return new CutComponent(
      id(this.letter),
      () => this.device?.component(id(this.letter)),
      (lengthBytes) => assertDefined(this.device, "no power").allocate(lengthBytes),
    );
  }

  async start(): Promise<void> {
    const { machine } = this;
    const ports = {
      disk: new SimDisk(machine, this.#disk, { alignmentBytes: BLOCK_SIZE_BYTES }),
      metadata: new SimMetadataStore(machine, this.#metadata),
      digests: new SimDigests(machine, { mode: "fast" }),
      clock: machine.clock,
      log: new SimLog(machine.clock),
    };
    const geometry = { journalBytes: 4 * SEGMENT_BYTES, segmentBytes: SEGMENT_BYTES };
    const ids = { clusterId: CLUSTER, hostId: id("4"), deviceId: id(this.letter) };
    if (!this.#isFormatted) await Device.format(ports, { ...ids, ...geometry });
    const device = await Device.open(ports, {
      clusterId: CLUSTER,
      journalMemoryBytes: 3 * SEGMENT_BYTES,
    });
    const sizeBytes = this.#blockCount * BLOCK_SIZE_BYTES;
    const made = { componentId: id(this.letter), objectId: OBJECT, sizeBytes };
    if (!this.#isFormatted) await device.createComponent(made);
    this.#isFormatted = true;
    this.device = device;
    this.way.heal();
  }

  crash(prng: Prng): void {
    this.device = undefined;
    this.way.cut();
    this.machine.cutPower({ kind: "random", seed: prng.u32() });
    this.machine = new SimMachine(this.#simulation);
  }
}

/** Hosts, an owner somewhere else, and what clients may find. */
class World {
  readonly simulation: Simulation;
  readonly prng: Prng;
  readonly hosts = new Map<string, Host>();
  readonly history = new BlockHistory(SIZE_BYTES);
  readonly events: string[] = [];
  readonly catchUp = { bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0 };
  readonly #tree: TreeNode;
  directory: EmbeddedDirectory | undefined;
  /** The directory does what it is asked, and nobody hears of it. */
  answersAreLost = false;
  leaseIsAlive = true;
  /** How often an owner has looked for a component. */
  asked = 0;
  owner: ObjectOwner | undefined;

  readonly #rules: OwnerRules;

  constructor(tree: TreeNode, seed: number, rules: OwnerRules = ALL_RULES) {
    this.#rules = rules;
    this.#tree = tree;
    this.simulation = new Simulation({ seed });
    this.prng = new Prng(seed);
    const sizes = new ObjectLayout(tree).componentSizes(SIZE_BLOCKS);
    for (const { componentId } of leavesOf(tree)) {
      const blockCount = sizes.get(componentId) ?? 0;
      const letter = componentId[0]!;
      this.hosts.set(letter, new Host(letter, blockCount, this.simulation));
    }
  }

  async build(): Promise<void> {
    for (const host of this.hosts.values()) await host.start();
    const machine = new SimMachine(this.simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    this.directory = await EmbeddedDirectory.open(store, machine.clock);
    await createVolumeRecord(this.directory, CLUSTER, {
      objectId: OBJECT,
      name: "v",
      sizeBytes: SIZE_BYTES,
      policy: { failuresToTolerate: 1, stripes: 1 },
      tree: this.#tree,
      placement: leavesOf(this.#tree).map(({ componentId }) => {
        return { componentId, hostId: componentId[0]!, deviceId: componentId };
      }),
    });
  }

  /** Nothing of what the owner has under way gets any further, and no answer back. */
  ownerDies(): void {
    for (const host of this.hosts.values()) {
      host.way.cut();
      host.way = host.newWay();
    }
  }

  async take(hostId: string): Promise<Requests> {
    const ways = new Map([...this.hosts].map(([letter, { way }]) => [letter, way]));
    const world: OwnerWorld = {
      directory: this.#directoryOf(assertDefined(this.directory, "not built")),
      clusterId: CLUSTER,
      hostId,
      log: new SimLog(this.simulation.clock),
      clock: this.simulation.clock,
      allocate: fakeMemory,
      transferMemory: new TransferMemory(fakeMemory),
      components: (componentId) => {
        this.asked++;
        return ways.get(componentId[0]!);
      },
      isNear: () => false,
      catchUp: this.catchUp,
      addEvent: ({ kind }) => void this.events.push(kind),
      growComponent: async () => {},
      isLeaseAlive: () => this.leaseIsAlive,
      rules: this.#rules,
      isHostAlive: async () => false,
    };
    this.owner = await ObjectOwner.take(world, OBJECT, false);
    return new Requests(this.owner.volume);
  }

  #directoryOf(directory: EmbeddedDirectory): Directory {
    return new Proxy<Directory>(directory, {
      get: (target, name: keyof Directory) =>
        name === "transact"
          ? async (...call: Parameters<Directory["transact"]>) => {
              const outcome = await target.transact(...call);
              if (!this.answersAreLost) return outcome;
              throw new CodedError({ code: "directory-outcome-unknown", message: "no answer" });
            }
          : target[name].bind(target),
    });
  }

  async state(letter: string): Promise<string> {
    const stored = await findObject(assertDefined(this.directory, "not built"), CLUSTER, OBJECT);
    const entry = stored?.record.components.find((one) => one.componentId === id(letter));
    return assertDefined(entry, "no such component").state.kind;
  }

  /** Random changes and reads, several at a time; every answer must be good. */
  async work(requests: Requests, count: number): Promise<void> {
    const { prng, history } = this;
    const running = new Set<Promise<void>>();
    for (let i = 0; i < count; i++) {
      const { offset, lengthBytes } = randomRange(prng, SIZE_BYTES);
      const isWrite = prng.chance(0.8);
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

  async verify(requests: Requests, what: string): Promise<void> {
    const chunkBytes = 16 * BLOCK_SIZE_BYTES;
    for (let offset = 0; offset < SIZE_BYTES; offset += chunkBytes) {
      const length = Math.min(chunkBytes, SIZE_BYTES - offset);
      const { fault, bytes } = await requests.read(offset, length);
      assert.equal(fault, undefined, what);
      for (let at = 0; at < length; at += BLOCK_SIZE_BYTES) {
        const block = (offset + at) / BLOCK_SIZE_BYTES;
        const found = bytes.subarray(at, at + this.history.lengthOf(block));
        assert.ok(this.history.settle(block, found), `block ${block}: ${what}`);
      }
    }
  }

  async until(condition: () => Promise<boolean>): Promise<void> {
    for (let i = 0; i < 2000; i++) {
      if (await condition()) return;
      await new Promise<void>((resolve) => void this.simulation.clock.after(20, resolve));
    }
    throw new Error(`it did not come (${this.events.join(", ")})`);
  }

  /** Every leg by itself holds what the others hold. */
  async assertEqualLegs(what: string): Promise<void> {
    const layout = new ObjectLayout(this.#tree);
    const legs: Uint8Array[] = [];
    for (const leg of layout.legs) {
      const bytes = new Uint8Array(SIZE_BLOCKS * BLOCK_SIZE_BYTES);
      for (let block = 0; block < SIZE_BLOCKS; block++) {
        const letter = leg.componentIds[leg.columnOf(block)]![0]!;
        const host = assertDefined(this.hosts.get(letter), "no host");
        const device = assertDefined(host.device, "no power");
        const memory = device.allocate(BLOCK_SIZE_BYTES);
        const far = assertDefined(device.component(id(letter)), "no component");
        const fault = await new Promise((resolve) => {
          far.read(memory, 0, leg.componentBlockOf(block), 1, (_t, answer) => resolve(answer), 0);
          far.submit();
        });
        assert.equal(fault, undefined);
        bytes.set(memory.bytes, block * BLOCK_SIZE_BYTES);
      }
      legs.push(bytes);
    }
    for (const bytes of legs) assert.ok(Buffer.compare(bytes, legs[0]!) === 0, what);
    for (const { device } of this.hosts.values())
      if (device !== undefined) assert.ok(isClean(await device.scrub()), what);
  }
}

const TREES: Readonly<Record<string, TreeNode>> = {
  "a mirror of two with a witness": mirror([
    component(id("a")),
    component(id("b")),
    witness(id("f")),
  ]),
  "three copies": mirror([component(id("a")), component(id("b")), component(id("c"))]),
  "legs that are striped differently": mirror([
    stripe([component(id("a")), component(id("b"))], 256),
    component(id("c"), 2),
    witness(id("f")),
  ]),
};

/** A host dies under load, misses writes, comes back, and must be equal to the others again. */
async function outage(tree: TreeNode, seed: number, rules: OwnerRules = ALL_RULES): Promise<void> {
  const world = new World(tree, seed, rules);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    await world.work(requests, 25);
    const letter = world.prng.pick(["a", "b"]);
    const host = assertDefined(world.hosts.get(letter), "no host");
    const working = world.work(requests, 30);
    if (world.prng.chance(0.5)) host.crash(world.prng);
    else host.way.cut();
    await working;
    assert.equal(await world.state(letter), "stale");
    await world.work(requests, 20);
    const returning = world.work(requests, 20);
    if (host.device === undefined) await host.start();
    host.way.heal();
    await returning;
    await world.until(async () => (await world.state(letter)) === "active");
    await world.verify(requests, `seed ${seed}`);
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs(`seed ${seed}`);
    assert.ok(!world.events.includes("copies-differed"), "everything was sent");
  });
}

/** Owners die with writes under way, and hosts with them; the next owner makes the legs equal. */
async function handOver(
  tree: TreeNode,
  seed: number,
  rules: OwnerRules = ALL_RULES,
): Promise<void> {
  const world = new World(tree, seed, rules);
  await world.simulation.run(async () => {
    await world.build();
    let requests = await world.take("x");
    for (let life = 0; life < 4; life++) {
      await world.work(requests, 12);
      for (let i = 0; i < 10; i++) {
        const { offset, lengthBytes } = randomRange(world.prng, SIZE_BYTES);
        const bytes = randomBytes(world.prng, lengthBytes);
        const change = world.history.change(offset, bytes);
        void requests.write(bytes, offset).then((fault) => {
          if (fault === undefined) world.history.acknowledge(change);
        });
      }
      await new Promise<void>((resolve) => {
        world.simulation.clock.after(world.prng.below(20) / 10, resolve);
      });
      const crashed = [...world.hosts.values()].filter(() => world.prng.chance(0.5));
      world.ownerDies();
      for (const host of crashed) host.crash(world.prng);
      for (const host of crashed) await host.start();
      requests = await world.take(`y${life}`);
      await world.verify(requests, `seed ${seed}, life ${life}`);
    }
    await world.until(async () => {
      const states = await Promise.all([...world.hosts.keys()].map((one) => world.state(one)));
      return states.every((state) => state === "active");
    });
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs(`seed ${seed}`);
  });
}

for (const [name, tree] of Object.entries(TREES)) {
  test(`${name}: a host dies, misses writes, comes back and is equal again`, async () => {
    for (let seed = 1; seed <= 6; seed++) await outage(tree, seed);
  });

  test(`${name}: the next owner settles what the last one had under way`, async () => {
    for (let seed = 101; seed <= 108; seed++) await handOver(tree, seed);
  });
}

/** The first seed that fails without the rule. */
async function found(
  run: (seed: number, rules: OwnerRules) => Promise<void>,
  rule: keyof OwnerRules,
  seedMax: number,
): Promise<number | undefined> {
  for (let seed = 1; seed <= seedMax; seed++) {
    try {
      await run(seed, { ...ALL_RULES, [rule]: false });
    } catch (error) {
      assert.ok(error instanceof Error);
      return seed;
    }
  }
  return undefined;
}

test("without the filter by range, a returning stripe that holds the wrong blocks is found", async () => {
  const tree = assertDefined(TREES["legs that are striped differently"], "no such tree");
  const seed = await found((one, rules) => outage(tree, one, rules), "filtersByRange", 20);
  assert.ok(seed !== undefined, "nobody noticed");
});

test("what a returning copy missed is sent, and nothing else", async () => {
  const world = new World(TREES["a mirror of two with a witness"]!, 5);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const bytes = randomBytes(world.prng, 1 << 20);
    for (let i = 0; i < 5; i++) assert.equal(await requests.write(bytes, i << 20), undefined);
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    const missed = randomBytes(world.prng, 1 << 20);
    for (let i = 0; i < 3; i++) assert.equal(await requests.write(missed, 2 << 20), undefined);
    assert.equal(await world.state("b"), "stale");
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, 1 << 20);
    assert.deepEqual(world.events, ["component-stale", "component-active"]);
    host.way.cut();
    // Contents that the other side has, elsewhere.
    assert.equal(await requests.write(bytes, 3 << 20), undefined);
    assert.equal(await requests.write(bytes, 2 << 20), undefined);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, 1 << 20, "nothing more was sent");
    await assertDefined(world.owner, "no owner").close();
  });
});

test("a content that a returning copy lacks in many places travels once", async () => {
  const world = new World(TREES["a mirror of two with a witness"]!, 6);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    const bytes = new Uint8Array(1 << 20).fill(7);
    for (let i = 0; i < 4; i++) assert.equal(await requests.write(bytes, i << 20), undefined);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, BLOCK_SIZE_BYTES);
    assert.equal(world.catchUp.bytesSkipped, (4 << 20) - BLOCK_SIZE_BYTES);
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs("repeated content");
  });
});

test("a copy whose blocks come from several hosts at once gets each in its place", async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const world = new World(
      assertDefined(TREES["legs that are striped differently"], "no such tree"),
      seed,
    );
    await world.simulation.run(async () => {
      await world.build();
      const requests = await world.take("x");
      const host = assertDefined(world.hosts.get("c"), "no host");
      host.way.cut();
      await world.work(requests, 60);
      host.way.heal();
      await world.until(async () => (await world.state("c")) === "active");
      assert.ok(!world.events.includes("copies-differed"), `seed ${seed}`);
      await assertDefined(world.owner, "no owner").close();
      await world.assertEqualLegs(`seed ${seed}`);
    });
  }
});

test("nothing is answered without a copy that the directory may call active", async () => {
  const world = new World(
    assertDefined(TREES["a mirror of two with a witness"], "no such tree"),
    7,
  );
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    await world.work(requests, 10);
    assert.equal(await world.state("b"), "stale");
    world.answersAreLost = true;
    world.leaseIsAlive = false;
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    const fault = await requests.write(randomBytes(world.prng, BLOCK_SIZE_BYTES), 0);
    assert.ok(fault !== undefined || (await world.state("b")) === "stale", "a copy was left out");
  });
});

test("a copy that cannot catch up is tried with growing pauses, for as long as it takes", async () => {
  const world = new World(
    assertDefined(TREES["a mirror of two with a witness"], "no such tree"),
    8,
  );
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    await world.work(requests, 10);
    world.asked = 0;
    await new Promise<void>((resolve) => void world.simulation.clock.after(300_000, resolve));
    assert.ok(world.asked > 50 && world.asked < 80, `${world.asked} attempts in five minutes`);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
  });
});
