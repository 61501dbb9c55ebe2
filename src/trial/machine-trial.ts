/**
 * One trial of virtual machines: guests count on their disks while hosts lose power, processes die,
 * both networks are cut, messages are late, starts fail and somebody stops and starts machines.
 * Then all is put right, every machine must run within a bound and go on from what it was told, and
 * of the machines of a host that loses its power those with the highest priority come first.
 */
import { marks } from "../base/index.ts";
import { isProtected } from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import { armAtLast, ARMING_MISFORTUNES, planArming } from "./machine-arming.ts";
import { planLateMisfortune } from "./machine-late.ts";
import type { MachineMutant } from "./machine-mutants.ts";
import { beginMaintenance, callOff, checkMaintenance, endMaintenance } from "./machine-moves.ts";
import { move, moveTogether } from "./machine-moves.ts";
import { changeProtection, checkProtection } from "./machine-protection.ts";
import { areWell, checkRoom, isWell } from "./machine-room.ts";
import { CALL_MS, MachineWorld } from "./machine-world.ts";
import { stackOf } from "./trial-host.ts";
import type { TrialReport } from "./trial.ts";

/** From the end of all faults to all machines running, of which no start has failed. */
const RUNNING_MS_MAX = 30_000;
/** From power lost to all of the host's machines running elsewhere. */
const FAILOVER_MS_MAX = 20_000;
const PROTECTED_MS_MAX = 40_000;
/** Failed starts in a row that put off the next one: what the operator is needed for. */
const FAILURES_PUT_OFF = 3;

export async function runMachineTrial(
  seed: number,
  mutant?: MachineMutant,
  onLine?: (line: string) => void,
): Promise<TrialReport> {
  const world = new MachineWorld(seed, mutant, onLine);
  const counting = marks.countAll();
  try {
    await world.simulation.run(async () => {
      await world.build();
      await misfortunes(world);
      await putRight(world);
      if (world.failure === undefined) await checkRunning(world);
      if (world.failure === undefined) await checkProtection(world);
      if (world.failure === undefined) await checkMaintenance(world);
      if (world.failure === undefined)
        await (world.layout.isTight ? checkRoom(world) : checkPriorities(world));
      world.isOver = true;
    });
  } catch (error) {
    world.fail("crash", stackOf(error));
  }
  const taken = Object.fromEntries(counting.end());
  return {
    seed,
    failure: world.failure,
    trace: world.failure === undefined ? [] : world.trace.lines(),
    digest: world.trace.digest,
    virtualMs: world.simulation.nowMs,
    events: world.simulation.eventCount,
    requests: world.requests,
    undecidedBlocks: 0,
    marks: taken,
  };
}

const MISFORTUNES: Readonly<Record<string, (world: MachineWorld) => void | Promise<void>>> = {
  "power cut": (world) => {
    const host = world.prng.pick(world.hosts);
    if (host.isUp) host.cutPower();
    else host.start();
  },
  "process killed": (world) => {
    const host = world.prng.pick(world.hosts);
    if (host.isUp) host.killProcess();
    else host.start();
  },
  "host starts": (world) => world.hosts.find(({ isUp }) => !isUp)?.start(),
  "management cut": (world) => world.cut(someOf(world)),
  "management whole": (world) => world.cut([]),
  "storage split": (world) => world.disks.split(someOf(world).map(({ id }) => id)),
  "storage whole": (world) => world.disks.split([]),
  "both cut": (world) => {
    const hosts = someOf(world);
    world.cut(hosts);
    world.disks.split(hosts.map(({ id }) => id));
  },
  late: (world) => world.disks.setLate(world.prng.pick(world.hosts).id, world.prng.below(12_000)),
  "in time": (world) => {
    for (const { id } of world.hosts) world.disks.setLate(id, 0);
  },
  "starts fail": (world) => world.prng.pick(world.hosts).failStarts(1 + world.prng.below(3)),
  // Who kills one whose host may run it on has to make sure that the host is off.
  "told to end": (world) =>
    order(world, { desired: world.placements.wasDisarmed ? "stopped" : "killed" }),
  "told to run": (world) => order(world, { desired: "running" }),
  "told to move": move,
  "told to move again": moveTogether,
  "move called off": callOff,
  "maintenance begins": beginMaintenance,
  "maintenance ends": endMaintenance,
  "sends fail": (world) => world.prng.pick(world.hosts).failSends(1 + world.prng.below(2)),
  "storage in parts": ({ disks, hosts, prng }) =>
    disks.setParts(new Map(hosts.map(({ id }) => [id, prng.below(hosts.length)]))),
  "slow calls": (world) => void (world.callMs = CALL_MS + world.prng.below(470)),
  "fast calls": (world) => void (world.callMs = CALL_MS),
  "protection changes": (world) => changeProtection(world, world.prng.pick(world.names)),
};

function someOf({ hosts, prng }: MachineWorld): MachineWorld["hosts"] {
  const count = 1 + prng.below(hosts.length);
  const first = prng.below(hosts.length);
  return Array.from({ length: count }, (_, i) => hosts[(first + i) % hosts.length]!);
}

async function order(world: MachineWorld, what: Partial<VmRecord>): Promise<void> {
  await world.change(world.prng.pick(world.names), () => what);
}

async function misfortunes(world: MachineWorld): Promise<void> {
  const { prng } = world;
  const kinds = Object.keys(MISFORTUNES);
  const count = 10 + prng.below(20);
  const { seed } = world.simulation;
  const late = planLateMisfortune(seed, count);
  const arming = planLateMisfortune(seed, count, ARMING_MISFORTUNES);
  const orders = planArming(seed, count);
  for (let i = 0; i < count && world.failure === undefined; i++) {
    if (i === late?.after) await late.happen(world);
    if (i === arming?.after) await arming.happen(world);
    await orders.get(i)?.(world);
    await world.pass(prng.below(prng.chance(0.2) ? 20_000 : 5000));
    const kind = prng.pick(kinds);
    world.trace.add("fault", kind);
    await MISFORTUNES[kind]!(world);
    world.mayJump();
  }
}

async function putRight(world: MachineWorld): Promise<void> {
  world.trace.add("trial", "all is put right");
  world.cut([]);
  world.disks.split([]);
  world.callMs = CALL_MS;
  for (const host of world.hosts) {
    host.setWallOffset(0);
    if (!host.isUp) host.start();
    world.disks.setLate(host.id, 0);
    host.failStarts(0);
    host.failSends(0);
    host.attachMs = 0;
  }
  await endMaintenance(world);
  await armAtLast(world);
  for (const name of world.names) {
    const isPutOff = world.failuresOf(name) >= FAILURES_PUT_OFF;
    await world.change(name, ({ isProtected: isWanted, protectionSequence: sequence }) => ({
      desired: "running",
      isProtected: true,
      protectionSequence: isWanted ? sequence : sequence + 1,
      ...(isPutOff ? { failureCount: 0 } : {}),
    }));
  }
}

async function checkRunning(world: MachineWorld): Promise<void> {
  if (!(await world.until(() => areWell(world), RUNNING_MS_MAX)))
    for (const name of world.names) if (!(await isWell(world, name))) await stands(world, name);
  const areProtected = async (): Promise<boolean> => {
    const records = await Promise.all(world.names.map((name) => world.record(name)));
    return records.every(isProtected);
  };
  if (!(await world.until(areProtected, PROTECTED_MS_MAX)))
    world.fail("no-progress", "not every machine is protected although all is well");
  const running = world.names.filter((name) => world.whereIs(name) !== undefined);
  const before = new Map(running.map((name) => [name, world.counterOf(name)]));
  const stuck = (): readonly string[] =>
    running.filter((name) => world.counterOf(name) <= before.get(name)!);
  if (!(await world.until(() => stuck().length === 0, RUNNING_MS_MAX)))
    world.fail("no-progress", `${stuck().join()} runs and its guest gets nothing written`);
  for (const name of world.names) {
    for (const disk of world.volumesOf(name)) {
      const [told, held] = [world.toldOf(disk), world.disks.valueOf(disk)];
      if (held < told)
        world.fail("lost-write", `${disk} holds ${held}, its guest was told ${told}`);
    }
  }
}

async function stands(world: MachineWorld, name: string): Promise<void> {
  const { history, failureCount } = await world.record(name);
  const { what, because } = history.at(-1) ?? { what: "nothing", because: "" };
  const last = `${what} (${because}), ${failureCount} failed starts, really`;
  world.fail("no-progress", `${name} does not run: ${last} ${world.failuresOf(name)}`);
}

/** The host with the most machines loses its power. */
async function checkPriorities(world: MachineWorld): Promise<void> {
  const countOn = (id: string): number =>
    world.names.filter((name) => world.whereIs(name) === id).length;
  const [victim] = world.hosts.toSorted((a, b) => countOn(b.id) - countOn(a.id));
  const names = world.names.filter((name) => world.whereIs(name) === victim!.id);
  world.trace.add("trial", `power of ${victim!.id} is cut: ${names.join(", ")}`);
  victim!.cutPower();
  const areBack = (): boolean => names.every((name) => world.whereIs(name) !== undefined);
  if (!(await world.until(areBack, FAILOVER_MS_MAX)))
    for (const name of names) if (world.whereIs(name) === undefined) await stands(world, name);
  const records = await Promise.all(names.map((name) => world.record(name)));
  for (const a of records)
    for (const b of records)
      if (a.priority < b.priority && placedMs(a) > placedMs(b))
        world.fail("priorities", `${b.name} was placed before ${a.name}, which comes first`);
}

function placedMs({ history }: VmRecord): number {
  return history.findLast(({ what }) => what.startsWith("placed on"))?.timeMs ?? 0;
}
