import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, CodedError, Prng } from "../../base/index.ts";
import {
  component,
  createKeyDomain,
  createVolumeRecord,
  EmbeddedDirectory,
  findObject,
} from "../../cluster/index.ts";
import { ScratchMemory } from "../../frontend/index.ts";
import { noTraffic, ObjectOwner, TransferMemory } from "../../object/index.ts";
import type { IoFault, OwnerWorld } from "../../object/index.ts";
import { WideBlockCipher } from "../../platform/index.ts";
import type { BlockCipher, Directory } from "../../ports/index.ts";
import {
  MetadataMedium,
  SimLog,
  SimMachine,
  SimMetadataStore,
  Simulation,
} from "../../sim/index.ts";
import { FakeComponent, fakeMemory } from "../../../test/support/fake-component.ts";
import { test } from "../../../test/support/test.ts";
import { createAttachment, findAttachment, removeAttachment } from "./attachment-records.ts";
import type { AttachmentRecord } from "./attachment-records.ts";
import { OfferedVolume } from "./offered-volume.ts";

const CLUSTER = "c1";
const BLOCKS = 16;
const HOLD_MS = 60_000;
const STEP_MS = 50;
const CIPHER = new WideBlockCipher(new Uint8Array(32).fill(4));
const ENCRYPTION = { domain: "default", domainId: "k1" };
const RECORD: AttachmentRecord = {
  objectId: "o1",
  volume: "v",
  hostId: "h1",
  nbd: "/run/v.sock",
  readOnly: false,
  tls: false,
  attachmentId: "a1",
  isHolding: false,
};

const H2 = { hostId: "h2", name: "h2" } as const;

class World {
  readonly simulation = new Simulation({ seed: 1 });
  readonly log = new SimLog(this.simulation.clock);
  readonly fake = new FakeComponent("a", BLOCKS, new Prng(1));
  readonly events: string[] = [];
  readonly answers: (IoFault | "good")[] = [];
  /** Whether the host of the volume reaches its component. */
  isReached = true;
  /** Called before the directory is asked for a record. */
  onGet: (key: string) => Promise<void> = async () => {};
  openCipher: () => Promise<BlockCipher | undefined> = async () => undefined;
  #directory: EmbeddedDirectory | undefined;

  static async create(isEncrypted = false): Promise<World> {
    const world = new World();
    const machine = new SimMachine(world.simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    world.#directory = await EmbeddedDirectory.open(store, machine.clock);
    if (isEncrypted) {
      const domain = { name: "default", domainId: "k1", cipher: "any", createdMs: 0, seals: [] };
      const clusterKey = { record: { keyId: "any", confirmed: [] }, revision: 0 };
      await world.until(createKeyDomain(world.plain, CLUSTER, domain, clusterKey));
      world.openCipher = async () => CIPHER;
    }
    const creating = createVolumeRecord(world.plain, CLUSTER, {
      objectId: "o1",
      name: "v",
      sizeBytes: BLOCKS * BLOCK_SIZE_BYTES,
      policy: { failuresToTolerate: 0, stripes: 1 },
      tree: component("a"),
      placement: [{ componentId: "a", hostId: "h1", deviceId: "d1" }],
      ...(isEncrypted ? { encryption: ENCRYPTION } : {}),
    });
    await world.until(creating);
    return world;
  }

  get plain(): EmbeddedDirectory {
    return assertDefined(this.#directory, "not created");
  }

  /** As the host of the volume has it. */
  get directory(): Directory {
    const { plain } = this;
    return {
      get: async (key) => {
        await this.onGet(key);
        return await plain.get(key);
      },
      list: (prefix) => plain.list(prefix),
      stamp: (prefix) => plain.stamp(prefix),
      transact: (conditions, writes) => plain.transact(conditions, writes),
      watch: (prefix, from, onEvent, onLost) => plain.watch(prefix, from, onEvent, onLost),
      grantLease: (ttlMs) => plain.grantLease(ttlMs),
      keepAlive: (lease) => plain.keepAlive(lease),
      revokeLease: (lease) => plain.revokeLease(lease),
      close: () => plain.close(),
    };
  }

  ownerWorld(hostId: string): OwnerWorld {
    return {
      directory: hostId === "h1" ? this.directory : this.plain,
      clusterId: CLUSTER,
      hostId,
      nameOf: (id) => id,
      log: this.log,
      clock: this.simulation.clock,
      isNear: () => false,
      catchUp: noTraffic(),
      addEvent: () => {},
      allocate: fakeMemory,
      transferMemory: new TransferMemory(fakeMemory),
      components: () => (hostId === "h1" && !this.isReached ? undefined : this.fake),
      growComponent: async () => {},
      isLeaseAlive: () => true,
      isHostAlive: async () => false,
    };
  }

  async offer(): Promise<OfferedVolume> {
    const plane = { isLeaseAlive: () => true, ownerWorld: () => this.ownerWorld("h1") };
    const { directory, log } = this;
    const { clock } = this.simulation;
    const memory = new ScratchMemory(fakeMemory);
    const openCipher = (): Promise<BlockCipher | undefined> => this.openCipher();
    const offered = await this.until(
      OfferedVolume.take(
        { directory, clock, log, clusterId: CLUSTER, plane, holdMs: HOLD_MS, openCipher, memory },
        RECORD,
        {
          stopped: () => void this.events.push("stopped"),
          resumed: () => void this.events.push("resumed"),
          moved: () => void this.events.push("moved"),
        },
      ),
    );
    await this.until(createAttachment(this.plain, CLUSTER, RECORD));
    return offered;
  }

  write(offered: OfferedVolume, value: number): void {
    const done = (_token: number, fault: IoFault | undefined): void => {
      this.answers.push(fault ?? "good");
    };
    const bytes = Buffer.alloc(BLOCK_SIZE_BYTES, value);
    offered.io.write(bytes, 0, BLOCK_SIZE_BYTES, 0, done, 0);
    offered.io.submit();
  }

  /** What the component holds, as another host reads it. */
  async content(): Promise<number | undefined> {
    const owner = await this.until(ObjectOwner.take(this.ownerWorld("h3"), "o1", false));
    const memory = fakeMemory(BLOCK_SIZE_BYTES);
    let isRead = false;
    owner.volume.read(memory, 0, BLOCK_SIZE_BYTES, 0, () => (isRead = true), 0);
    owner.volume.submit();
    await this.pass(100);
    assert(isRead, "it can be read");
    await this.until(owner.close());
    return memory.bytes[0];
  }

  /** Another host takes the attachment over, writes, and is done with the volume. */
  async moveElsewhere(value: number): Promise<void> {
    const stored = await findAttachment(this.plain, CLUSTER, "o1");
    assert(stored !== undefined && (await removeAttachment(this.plain, CLUSTER, stored)));
    const owner = await ObjectOwner.take(this.ownerWorld("h2"), "o1", false);
    await new Promise<void>((done) => {
      const bytes = Buffer.alloc(BLOCK_SIZE_BYTES, value);
      owner.volume.write(bytes, 0, BLOCK_SIZE_BYTES, 0, () => done(), 0);
      owner.volume.submit();
    });
    await owner.close();
  }

  async isHolding(): Promise<boolean | undefined> {
    return (await this.until(findAttachment(this.plain, CLUSTER, "o1")))?.record.isHolding;
  }

  /** Everything that can happen within this time does. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      await this.simulation.runForMs(STEP_MS);
      while (this.fake.step());
    }
  }

  async until<T>(work: Promise<T>): Promise<T> {
    const settled: true[] = [];
    const note = (): void => void settled.push(true);
    work.then(note, note);
    for (let turn = 0; settled.length === 0; turn++) {
      assert(turn < 10_000, "it comes to an end");
      await this.pass(STEP_MS);
    }
    return await work;
  }
}

/** The host learns that it does not reach the component any more. */
async function loseComponent(world: World, offered: OfferedVolume): Promise<void> {
  world.write(offered, 7);
  await world.pass(100);
  assert.deepEqual(world.answers.splice(0), ["good"]);
  world.isReached = false;
  world.fake.faultOf = () => "unreachable";
  world.write(offered, 1);
  await world.pass(100);
  world.fake.faultOf = () => undefined;
}

test("requests wait while the object is out of reach, and other hosts are told so", async () => {
  const world = await World.create();
  const offered = await world.offer();
  await loseComponent(world, offered);
  assert.deepEqual([world.answers, offered.isHolding, await world.isHolding()], [[], true, true]);
  world.isReached = true;
  await world.pass(3000);
  assert.deepEqual(world.answers, ["good"]);
  assert.deepEqual([offered.isHolding, await world.isHolding()], [false, false]);
  assert.deepEqual(world.events, ["stopped", "resumed"]);
  await world.until(offered.close());
  assert.equal(await world.content(), 1);
});

test("an encrypted volume that waited goes on encrypted, once its key is there", async () => {
  const world = await World.create(true);
  const offered = await world.offer();
  await loseComponent(world, offered);
  const cause = { code: "cluster-key-missing", message: "the medium with the key is away" };
  world.openCipher = () => Promise.reject(new CodedError(cause));
  world.isReached = true;
  await world.pass(3000);
  assert.deepEqual(
    [world.answers, offered.reason, await world.isHolding()],
    [...[[], cause.message, true]],
  );
  world.openCipher = async () => CIPHER;
  await world.pass(3000);
  assert.deepEqual([world.answers, offered.isHolding], [["good"], false]);
  await world.until(offered.close());
  const block = new Uint8Array(BLOCK_SIZE_BYTES).fill(1);
  CIPHER.encrypt(block, 0, block, 0);
  assert.equal(await world.content(), block[0]);
});

test("a host that cannot open the key takes nothing from anybody", async () => {
  const world = await World.create(true);
  const epochOf = async (): Promise<number | undefined> =>
    (await world.until(findObject(world.plain, CLUSTER, "o1")))?.record.epoch;
  const before = await epochOf();
  world.openCipher = () =>
    Promise.reject(new CodedError({ code: "cluster-key-wrong", message: "another key" }));
  await assert.rejects(world.offer(), { code: "cluster-key-wrong" });
  assert.equal(await epochOf(), before);
});

test("what waits is dropped when another host has taken the attachment over", async () => {
  const world = await World.create();
  const offered = await world.offer();
  await loseComponent(world, offered);
  await world.until(world.moveElsewhere(2));
  world.isReached = true;
  await world.pass(3000);
  assert.deepEqual(world.events, ["stopped", "moved"]);
  assert.deepEqual(world.answers, []);
  await world.until(offered.close());
  assert.deepEqual(world.answers, ["not-owner"]);
  assert.equal(await world.content(), 2);
});

test("a record that was looked at before the object was taken says nothing", async () => {
  const world = await World.create();
  const offered = await world.offer();
  await loseComponent(world, offered);
  // From here on: the host finds the record its own, then another one is quicker.
  let isMoved = false;
  let looks = 0;
  world.onGet = async (key) => {
    if (key.includes("/attachment/")) looks++;
    else if (looks > 0 && !isMoved) {
      isMoved = true;
      await world.moveElsewhere(2);
    }
  };
  world.isReached = true;
  await world.pass(3000);
  assert(isMoved, "the other host came between");
  assert.deepEqual(world.events, ["stopped", "moved"]);
  await world.until(offered.close());
  assert.deepEqual(world.answers, ["not-owner"]);
  assert.equal(await world.content(), 2);
});

test("a volume that is handed over is given up first, and what waits goes to nobody", async () => {
  const world = await World.create();
  const offered = await world.offer();
  world.write(offered, 1);
  await world.pass(100);
  assert.deepEqual(world.answers.splice(0), ["good"]);
  const moving = offered.handOver(H2, async () => {
    world.write(offered, 3);
    const stored = await findAttachment(world.plain, CLUSTER, "o1");
    assert.deepEqual([stored?.record.isHolding, stored?.record.givenTo], [false, "h2"]);
    assert.equal((await findObject(world.plain, CLUSTER, "o1"))?.record.owner, undefined);
    assert.equal(offered.isHolding, true);
    await world.moveElsewhere(2);
    return "taken";
  });
  assert.equal(await world.until(moving), "taken");
  await world.pass(3000);
  assert.deepEqual(world.events, ["stopped", "moved"]);
  assert.deepEqual(world.answers, []);
  await world.until(offered.close());
  assert.deepEqual(world.answers, ["not-owner"]);
  assert.equal(await world.content(), 2);
});

test("where nobody takes it over it is served again, and what waited is done", async () => {
  const world = await World.create();
  const offered = await world.offer();
  const refused = new CodedError({ code: "address-in-use", message: "somebody listens there" });
  const moving = offered.handOver(H2, async () => {
    world.write(offered, 3);
    // Longer than it takes to try to have the object again.
    await new Promise<void>((resolve) => void world.simulation.clock.after(5000, resolve));
    assert.equal((await findObject(world.plain, CLUSTER, "o1"))?.record.owner, undefined);
    throw refused;
  });
  await assert.rejects(world.until(moving), { code: "address-in-use" });
  await world.pass(3000);
  assert.deepEqual(world.answers, ["good"]);
  assert.deepEqual(world.events, ["stopped", "resumed"]);
  assert.deepEqual([offered.isHolding, await world.isHolding()], [false, false]);
  const stored = await world.until(findAttachment(world.plain, CLUSTER, "o1"));
  assert.equal(stored?.record.givenTo, undefined, "a late one does not take it");
  await world.until(offered.close());
  assert.equal(await world.content(), 3);
});

test("it is handed over once at a time", async () => {
  const world = await World.create();
  const offered = await world.offer();
  const { clock } = world.simulation;
  const moving = offered.handOver(
    H2,
    () => new Promise<void>((resolve) => void clock.after(100, resolve)),
  );
  await assert.rejects(
    offered.handOver({ hostId: "h3", name: "h3" }, async () => undefined),
    { code: "volume-in-use" },
  );
  await world.until(moving);
  await world.until(offered.close());
});
