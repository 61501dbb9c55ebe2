/**
 * Misfortunes of virtual machines that belong together: a start takes so long that its host loses
 * its lease and has another one when it ends; a start fails while what its host has asked the
 * directory is on its way back. Cuts and failures that have nothing to do with each other hardly
 * ever bring that about.
 */
import { Prng } from "../base/index.ts";
import type { MachineHost } from "./machine-host.ts";
import { endMaintenance } from "./machine-moves.ts";
import type { MachineWorld } from "./machine-world.ts";

const CALM_MS = 8000;
const PLACED_MS_MAX = 15_000;
const MOVED_MS_MAX = 15_000;
/** Longer than a host without its lease keeps its machines. */
const LONG_START_MS = 18_000;
/** Answers are held up for less than a lease lives. */
const HELD_MS = { min: 800, max: 2300 };
const HELD_TIMES = 4;

export type LateMisfortune = (world: MachineWorld, prng: Prng) => Promise<void>;

/** Whatever else goes wrong is over: the machine would be given to nobody. */
export async function calmDown(world: MachineWorld): Promise<void> {
  world.cut([]);
  world.disks.split([]);
  for (const host of world.hosts) {
    if (!host.isUp) host.start();
    world.disks.setLate(host.id, 0);
    host.failStarts(0);
  }
  await endMaintenance(world);
  await world.pass(CALM_MS);
}

/** Ends a machine and has it started by whoever is given it; that is where starts take so long. */
async function startAnew(
  world: MachineWorld,
  name: string,
  attachMs: number,
): Promise<MachineHost | undefined> {
  await calmDown(world);
  await world.change(name, () => ({ desired: "killed" }));
  const hostOf = async (): Promise<string | undefined> => (await world.record(name)).hostId;
  const isFree = await world.until(async () => (await hostOf()) === undefined, PLACED_MS_MAX);
  if (isFree) for (const host of world.hosts) host.attachMs = attachMs;
  await world.change(name, () => ({ desired: "running" }));
  if (!isFree) return undefined;
  let placed: string | undefined;
  await world.until(async () => (placed = await hostOf()) !== undefined, PLACED_MS_MAX);
  // That one may not have begun yet.
  for (const host of world.hosts) if (host.id !== placed) host.attachMs = 0;
  return placed === undefined ? undefined : world.host(placed);
}

function notPlaced(world: MachineWorld, name: string): void {
  world.trace.add("fault", `${name} is given to nobody`);
}

/** The machine is another host's when the start gets to it, under another lease than it began. */
async function leaseChangesDuringStart(world: MachineWorld, prng: Prng): Promise<void> {
  const name = prng.pick(world.names);
  const host = await startAnew(world, name, LONG_START_MS);
  if (host === undefined) return notPlaced(world, name);
  const beginMs = world.simulation.nowMs;
  world.trace.add("fault", `${host.id} is cut off while it starts ${name}`);
  world.cut([host]);
  await world.until(async () => (await world.record(name)).hostId !== host.id, MOVED_MS_MAX);
  await world.pass(prng.below(1000));
  world.cut([]);
  await world.pass(Math.max(0, beginMs + LONG_START_MS + 1000 - world.simulation.nowMs));
  host.attachMs = 0;
}

/** What the host is told is older than the end of the start, which gave the machine back. */
async function answersLateAroundStart(world: MachineWorld, prng: Prng): Promise<void> {
  const name = prng.pick(world.names);
  const host = await startAnew(world, name, prng.between(700, 2000));
  if (host === undefined) return notPlaced(world, name);
  world.trace.add("fault", `${host.id} is told late, and its start of ${name} fails`);
  host.failStarts(1);
  for (let i = 0; i < HELD_TIMES && world.failure === undefined; i++) {
    world.holdAnswers(host, true);
    await world.pass(prng.between(HELD_MS.min, HELD_MS.max));
    world.holdAnswers(host, false);
    await world.pass(prng.below(100));
  }
  host.failStarts(0);
  host.attachMs = 0;
}

const ALL: readonly LateMisfortune[] = [leaseChangesDuringStart, answersLateAroundStart];
const SHARE = 0.4;

export interface PlannedMisfortune {
  /** So many others come before it. */
  readonly after: number;
  readonly happen: (world: MachineWorld) => Promise<void>;
}

/**
 * What happens besides the other misfortunes, and after how many of them. Drawn apart: trials that
 * have none go their way.
 */
export function planLateMisfortune(
  seed: number,
  count: number,
  of: readonly LateMisfortune[] = ALL,
): PlannedMisfortune | undefined {
  const prng = new Prng(seed ^ (of === ALL ? 0x1a7e : 0xa53d));
  if (!prng.chance(SHARE)) return undefined;
  const kind = prng.pick(of);
  return { after: prng.below(count), happen: (world) => kind(world, prng) };
}
