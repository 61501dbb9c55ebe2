/** Leases over a network to the directory that is well, rough, or cut. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { EmbeddedDirectory, RemoteDirectoryClient, ServedDirectory } from "../cluster/index.ts";
import type { Directory, NetworkAddress } from "../ports/index.ts";
import { MetadataMedium, NetworkFabric, SimLog, SimMachine } from "../sim/index.ts";
import { SimMetadataStore, SimNetwork, Simulation } from "../sim/index.ts";
import { HostLease, LEASE_TTL_MS, LEASE_TTL_SHORT_MS } from "./host-lease.ts";

const KEY = "/alive/h1";
const DIRECTORY = "10.0.0.9";
const ADDRESS: NetworkAddress = { kind: "tcp", host: DIRECTORY, port: 2379 };
const HOUR_MS = 3_600_000;
/** Hours of a rough network; 1,000 in the long version. */
const ROUGH_RUNS = process.env["DRYSTONE_LONG"] === "1" ? 100 : 1;
const ROUGH_HOURS = process.env["DRYSTONE_LONG"] === "1" ? 10 : 1;

class World {
  readonly simulation: Simulation;
  readonly fabric: NetworkFabric;
  readonly machine: SimMachine;
  lease!: HostLease;
  directory!: EmbeddedDirectory;
  /** How often it was taken for ended, by its holder and by others. */
  lossCount = 0;
  goneCount = 0;
  /** The next answer to a write is lost, and all behind it. */
  losesAnswer = false;

  constructor(seed: number) {
    this.simulation = new Simulation({ seed });
    this.fabric = new NetworkFabric(this.simulation);
    this.machine = new SimMachine(this.simulation);
  }

  async build(): Promise<void> {
    const machine = new SimMachine(this.simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    this.directory = await EmbeddedDirectory.open(store, machine.clock);
    const network = new SimNetwork(machine, this.fabric, [DIRECTORY]);
    const served = { directory: this.directory, network, address: ADDRESS, incarnation: "1" };
    await ServedDirectory.listen({ ...served, clock: machine.clock });
    const onEvent = ({ kind }: { readonly kind: string }): void => {
      if (kind === "delete") this.goneCount++;
      // Who is told that it is gone goes by that: by then its holder must not go by it any more.
      if (kind === "delete") assert.ok(!this.lease.isAlive(), "it lives for its holder alone");
    };
    this.directory.watch(KEY, 1, onEvent, () => assert.fail("nothing is lost"));
    const { clock } = this.machine;
    const log = new SimLog(clock);
    const own = new SimNetwork(this.machine, this.fabric, ["10.0.0.1"]);
    const client = new RemoteDirectoryClient({ network: own, address: ADDRESS, clock, log });
    const onChange = (isAlive: boolean): void => void (this.lossCount += isAlive ? 0 : 1);
    const who = { hostId: "h1", incarnation: 1, key: KEY, onChange };
    const transact: Directory["transact"] = async (conditions, writes) => {
      const outcome = await client.transact(conditions, writes);
      if (!this.losesAnswer) return outcome;
      this.losesAnswer = false;
      this.fabric.partition(["10.0.0.1"], [DIRECTORY]);
      throw new CodedError({ code: "directory-outcome-unknown", message: "no answer" });
    };
    const directory: Directory = {
      get: (key) => client.get(key),
      list: (prefix) => client.list(prefix),
      stamp: (prefix) => client.stamp(prefix),
      transact,
      watch: (...what) => client.watch(...what),
      grantLease: (ttlMs) => client.grantLease(ttlMs),
      keepAlive: (lease) => client.keepAlive(lease),
      revokeLease: (lease) => client.revokeLease(lease),
      close: () => client.close(),
    };
    this.lease = new HostLease({ directory, clock, log, ...who });
    await this.lease.start();
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.simulation.clock.after(ms, resolve));
  }
}

async function leased(seed: number, work: (world: World) => Promise<void>): Promise<void> {
  const world = new World(seed);
  await world.simulation.run(async () => {
    await world.build();
    await work(world);
    world.lease.letLapse();
  });
}

test("a short lease is earned by a minute of prompt answers, and the key is there all the time", async () => {
  await leased(1, async (world) => {
    assert.equal(world.lease.ttlMs, LEASE_TTL_MS);
    await world.pass(55_000);
    assert.equal(world.lease.ttlMs, LEASE_TTL_MS);
    await world.pass(10_000);
    assert.equal(world.lease.ttlMs, LEASE_TTL_SHORT_MS);
    await world.pass(60_000);
    assert.deepEqual([world.lossCount, world.goneCount], [0, 0]);
  });
});

test("the first answer that is late brings the long lease back, before it would have ended", async () => {
  for (let seed = 1; seed <= 20; seed++)
    await leased(seed, async (world) => {
      await world.pass(70_000);
      assert.equal(world.lease.ttlMs, LEASE_TTL_SHORT_MS);
      world.fabric.latency = { minMs: 150, maxMs: 500 };
      await world.pass(4000);
      assert.equal(world.lease.ttlMs, LEASE_TTL_MS);
      assert.deepEqual([world.lossCount, world.goneCount], [0, 0]);
    });
});

test("what needs the time of a long lease has one", async () => {
  await leased(2, async (world) => {
    world.lease.allowShort(false);
    await world.pass(120_000);
    assert.equal(world.lease.ttlMs, LEASE_TTL_MS);
    world.lease.allowShort(true);
    await world.pass(2000);
    assert.equal(world.lease.ttlMs, LEASE_TTL_SHORT_MS);
    world.lease.allowShort(false);
    await world.pass(2000);
    assert.equal(world.lease.ttlMs, LEASE_TTL_MS);
    assert.equal(world.goneCount, 0);
  });
});

test("what is carried passes to the next lease, and ends with a lease that has ended", async () => {
  await leased(3, async (world) => {
    const { directory, lease, fabric } = world;
    await directory.transact([], [{ kind: "put", key: "/x", value: "1", lease: lease.id! }]);
    lease.carry("/x", "1");
    await world.pass(100_000);
    assert.equal(lease.ttlMs, LEASE_TTL_SHORT_MS);
    assert.equal((await directory.get("/x"))?.value, "1");
    fabric.partition(["10.0.0.1"], [DIRECTORY]);
    await world.pass(10_000);
    fabric.heal();
    await world.pass(10_000);
    assert.ok(lease.isAlive());
    assert.equal(await directory.get("/x"), undefined);
    assert.equal(world.goneCount, 1);
  });
});

test("a host that wakes up after minutes finds its lease ended, and the next one is of a new term", async () => {
  await leased(4, async (world) => {
    const { lease, machine } = world;
    const { term } = lease;
    machine.pause();
    await world.pass(120_000);
    assert.equal(lease.isAlive(), false);
    machine.resume();
    await world.pass(5000);
    assert.equal(lease.isAlive(), true);
    assert.ok(lease.term > term);
    assert.equal(world.goneCount, 1);
  });
});

test("whenever the network is cut and healed, it ends for its holder before it ends for others", async () => {
  for (let seed = 1; seed <= 30; seed++)
    await leased(seed, async (world) => {
      const { prng } = world.simulation;
      for (let i = 0; i < 10; i++) {
        await world.pass(prng.chance(0.5) ? 55_000 + prng.below(20_000) : prng.below(10_000));
        if (prng.chance(0.3)) world.fabric.latency = { minMs: 1, maxMs: 1 + prng.below(900) };
        else world.fabric.latency = { minMs: 0.05, maxMs: 0.5 };
        world.fabric.partition(["10.0.0.1"], [DIRECTORY]);
        await world.pass(prng.below(8000));
        world.fabric.heal();
      }
    });
});

test("a key that may have passed to a short lease counts for no longer than that", async () => {
  await leased(4, async (world) => {
    await world.pass(50_000);
    world.losesAnswer = true;
    await world.pass(30_000);
    assert.deepEqual([world.losesAnswer, world.goneCount], [false, 1]);
    assert.ok(!world.lease.isAlive());
  });
});

test("lost packets and jitter end no lease", async (context) => {
  let losses = 0;
  for (let seed = 1; seed <= ROUGH_RUNS; seed++)
    await leased(seed, async (world) => {
      world.fabric.latency = { minMs: 1, maxMs: 500 };
      world.fabric.lossRate = 0.05;
      await world.pass(ROUGH_HOURS * HOUR_MS);
      losses += world.lossCount + world.goneCount;
    });
  context.diagnostic(`${losses} leases lost in ${ROUGH_RUNS * ROUGH_HOURS} hours`);
  assert.equal(losses, 0);
});
