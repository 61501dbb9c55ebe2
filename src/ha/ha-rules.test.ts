/**
 * Rules that trials seldom miss, because it takes moments that are rare there: each with a scenario
 * that is made for it, in which a promise is kept with the rule and broken without it.
 */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { assertDefined, CodedError } from "../base/index.ts";
import {
  createVm,
  directoryKeys,
  findVm,
  readHaSettings,
  swapHaSettings,
} from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import type { HaRules } from "./index.ts";
import { CLUSTER, cluster, DIRECTORY, FAILOVER_MS_MAX } from "../../test/support/vm-world.ts";
import { running, vm } from "../../test/support/vm-world.ts";
import type { Host, World } from "../../test/support/vm-world.ts";

const IN_FORCE: HaRules = {
  isWaitingFree: true,
  isReadUnderLease: true,
  isReadAfterStarts: true,
  isPersistedFirst: true,
  isWaitingSinceAsked: true,
  areOthersAsked: true,
  areHeartbeatsHeard: true,
  isComparedFirst: true,
  isLeaseGoneFirst: true,
  isEndedFirst: true,
  isOfficeHeld: true,
  isDisarmedHeeded: true,
  isArmedStill: true,
  isUnboundTold: true,
  isUnreadableLeft: true,
};

const SEEDS = 16;
/** Without a rule the moment comes within so many seeds. */
const SEEDS_TO_BREAK = 60;

type Scenario = (world: World) => Promise<boolean>;

/** The first seed that breaks the promise; undefined if none does. */
async function broken(
  seeds: number,
  rules: HaRules,
  isBroken: Scenario,
): Promise<number | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    let found = false;
    await cluster(seed, async (world) => void (found = await isBroken(world)), 3, rules);
    if (found) return seed;
  }
  return undefined;
}

async function isNeeded(without: Partial<HaRules>, isBroken: Scenario): Promise<void> {
  assert.equal(await broken(SEEDS, IN_FORCE, isBroken), undefined);
  const found = await broken(SEEDS_TO_BREAK, { ...IN_FORCE, ...without }, isBroken);
  assert.ok(found !== undefined, "nothing breaks without it");
}

test("what is ordered while the master decides is not overwritten by its decision", async () => {
  const isOverwritten = async (world: World): Promise<boolean> => {
    await running(world, "a");
    await createVm(world.directory, CLUSTER, { ...vm("b"), desired: "stopped" });
    await world.pass(3000 + world.simulation.prng.below(1000));
    await world.change("b", { desired: "running" });
    await world.pass(world.simulation.prng.below(40) / 4);
    await world.change("b", { desired: "stopped" });
    await world.pass(5000);
    return (await findVm(world.directory, CLUSTER, "b")).record.desired !== "stopped";
  };
  await isNeeded({ isComparedFirst: false }, isOverwritten);
});

test("a machine is not taken from a host that has come back while the master decides", async () => {
  const isTwice = async (world: World): Promise<boolean> => {
    const arm = async (isArmed: boolean): Promise<void> => {
      const stored = await readHaSettings(world.directory, CLUSTER);
      await swapHaSettings(world.directory, CLUSTER, stored, { ...stored.settings, isArmed });
    };
    const host = await running(world, "a");
    await arm(false);
    host.cutPower();
    await world.pass(8000);
    await arm(true);
    if (world.simulation.prng.chance(0.5)) host.start();
    // The master hears of it and decides at once.
    await world.change("a", { priority: 1 });
    await world.pass(world.simulation.prng.below(12));
    if (host.host === undefined) host.start();
    await world.pass(FAILOVER_MS_MAX);
    if (world.doubles.length === 0) assert.notEqual(world.whereIs("a"), undefined);
    return world.doubles.length > 0;
  };
  await isNeeded({ isLeaseGoneFirst: false }, isTwice);
});

test("a machine whose host has lost its storage starts nowhere else before it has ended there", async () => {
  const isTwice = async (world: World): Promise<boolean> => {
    for (const name of ["a", "b"]) await running(world, name);
    const master = (await world.directory.get(directoryKeys.vmMaster(CLUSTER)))?.value;
    const name = world.whereIs("a") === master ? "b" : "a";
    const host = world.host(world.whereIs(name));
    const others = world.hosts.filter((one) => one !== host).map(({ id }) => id);
    assert.notEqual(host.id, master);
    world.homes.split([host.id], others);
    // It says what it does not reach, and then hears nothing of the records for a while.
    const view = directoryKeys.vmView(CLUSTER, host.id);
    const hasSaid = async (): Promise<boolean> =>
      !((await world.directory.get(view))?.value ?? "").includes('"inaccessible":[]');
    await world.until(hasSaid, 3000);
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    host.beforeKnown = () => held;
    await world.pass(15_000);
    if (world.doubles.length > 0) return true;
    assert.equal(world.whereIs(name), host.id);
    host.beforeKnown = undefined;
    release();
    await world.until(() => others.includes(world.whereIs(name) ?? ""), FAILOVER_MS_MAX);
    return false;
  };
  await isNeeded({ isEndedFirst: false }, isTwice);
});

test("a host that has given a machine back does not start it by what it had read before", async () => {
  const isTwice = async (world: World): Promise<boolean> => {
    await running(world, "z");
    const master = (await world.directory.get(directoryKeys.vmMaster(CLUSTER)))?.value;
    const fails = gate();
    let first: Host | undefined;
    for (const host of world.hosts) {
      const start = host.hypervisor.start.bind(host.hypervisor);
      host.hypervisor.start = async (one) => {
        if (one.vmId !== "a" || first !== undefined) return await start(one);
        first = host;
        await fails.opened;
        throw new CodedError({ code: "vm-not-started", message: "it does not start" });
      };
    }
    // Nobody else changes its record while it is started.
    await createVm(world.directory, CLUSTER, { ...vm("a", false), persistedSequence: 1 });
    await world.until(() => first !== undefined, 5000);
    const host = assertDefined(first, "it was placed");
    if (host.id === master) return false;
    // It has read the records, and what runs takes it a while.
    const listed = gate();
    const list = host.hypervisor.list.bind(host.hypervisor);
    let isLooking = false;
    let lastMs = -Infinity;
    host.hypervisor.list = async () => {
      // It asks before it reads the records, and right after that.
      const hasRead = world.simulation.nowMs - lastMs < 100;
      lastMs = world.simulation.nowMs;
      isLooking ||= hasRead;
      if (hasRead) await listed.opened;
      return await list();
    };
    await world.until(() => isLooking, 3000);
    fails.open();
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
    assert.notEqual(world.whereIs("a"), host.id);
    listed.open();
    await world.pass(2000);
    return world.doubles.length > 0;
  };
  await isNeeded({ isReadAfterStarts: false }, isTwice);
});

test("a master that another one has followed places nothing by what it had seen", async () => {
  const isOverfull = async (world: World): Promise<boolean> => {
    const memoryBytes = (3 * world.capacity.memoryBytes) / 4;
    const big = (name: string, priority: number): VmRecord => {
      return { ...vm(name), memoryBytes, priority };
    };
    await running(world, "z");
    const old = world.host((await world.directory.get(directoryKeys.vmMaster(CLUSTER)))?.value);
    const [seen, started] = [gate(), gate()];
    let hasSeen = false;
    await createVm(world.directory, CLUSTER, big("low", 4));
    old.beforeKnown = async (prefix) => {
      if (prefix !== directoryKeys.vmViews(CLUSTER)) return;
      hasSeen = true;
      await seen.opened;
    };
    await world.until(() => hasSeen, 3000);
    world.fabric.partition([old.address], [DIRECTORY]);
    for (const { hypervisor } of world.hosts) {
      const start = hypervisor.start.bind(hypervisor);
      hypervisor.start = async (one) => {
        if (one.vmId === "high") await started.opened;
        await start(one);
      };
    }
    await createVm(world.directory, CLUSTER, big("high", 0));
    const recordOf = async (name: string): Promise<VmRecord> =>
      (await findVm(world.directory, CLUSTER, name)).record;
    await world.until(async () => (await recordOf("high")).hostId !== undefined, 15_000);
    world.fabric.heal();
    old.beforeKnown = undefined;
    seen.open();
    const isFull = async (): Promise<boolean> => {
      const [low, high] = await Promise.all([recordOf("low"), recordOf("high")]);
      return low.hostId !== undefined && low.hostId === high.hostId;
    };
    for (let i = 0; i < 100; i++) {
      if (await isFull()) return true;
      await world.pass(20);
    }
    started.open();
    return false;
  };
  await isNeeded({ isOfficeHeld: false }, isOverfull);
});

test("a machine is not taken from a host that has failed by a master that does not know that it was disarmed", async () => {
  const isTaken = async (world: World): Promise<boolean> => {
    const host = await running(world, "a");
    await world.pass(2000);
    const lease = directoryKeys.vmHost(CLUSTER, host.id);
    let hasDecided = false;
    for (const one of world.hosts)
      one.beforeKnown = async (prefix) => {
        const isLast = prefix === directoryKeys.vmsUnbound(CLUSTER);
        if (!isLast || hasDecided || (await world.directory.get(lease)) !== undefined) return;
        hasDecided = true;
        const stored = await readHaSettings(world.directory, CLUSTER);
        const disarmed = { ...stored.settings, isArmed: false };
        await swapHaSettings(world.directory, CLUSTER, stored, disarmed);
      };
    host.cutPower();
    await world.until(() => hasDecided, FAILOVER_MS_MAX);
    await world.pass(5000);
    return world.whereIs("a") !== undefined;
  };
  await isNeeded({ isArmedStill: false }, isTaken);
});

function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}
