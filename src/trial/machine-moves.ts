/** Machines that move while they run, on request and away from hosts in maintenance. */
import { dropService, isProtected, putService } from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import { isUnderWay } from "../ha/index.ts";
import { fitsSomewhere } from "./machine-room.ts";
import type { MachineWorld } from "./machine-world.ts";
import { CLUSTER_ID } from "./names.ts";

const TOLD_MS = 3000;
/**
 * Two leave a host at a time. One whose move failed is tried again after a minute: two at most, as
 * the wall clocks of the host that tells when that was and of the one that reads it have jumped
 * apart.
 */
const EMPTY_MS_MAX = 150_000;

export async function move(world: MachineWorld): Promise<void> {
  await moveTo(world, world.prng.pick(world.hosts).id);
}

/** Asked for by several operators at the same moment. */
export async function moveTogether(world: MachineWorld): Promise<void> {
  const to = world.prng.pick(world.hosts).id;
  await Promise.all([moveTo(world, to), moveTo(world, to), moveTo(world, to)]);
}

async function moveTo(world: MachineWorld, to: string): Promise<void> {
  // What others have asked for and is not ready yet nobody knows who asks at the same time.
  const free = world.placements.freeOn(to);
  await world.change(world.prng.pick(world.names), (record) => {
    const { hostId, epoch, startedEpoch, desired, migration } = record;
    const isRunning = desired === "running" && hostId !== undefined && startedEpoch === epoch;
    if (free < record.memoryBytes) return {};
    if (!isRunning || hostId === to || record.isLeaving || isUnderWay(record)) return {};
    const id = (migration?.id ?? 0) + 1;
    return { migration: { id, to, epoch, phase: "asked", address: "" } };
  });
}

export async function callOff(world: MachineWorld): Promise<void> {
  const over = (record: VmRecord): Partial<VmRecord> =>
    isUnderWay(record) ? { migration: { ...record.migration!, phase: "over" } } : {};
  for (const name of world.names) await world.change(name, over);
}

export async function beginMaintenance(world: MachineWorld): Promise<void> {
  const { id } = world.prng.pick(world.hosts);
  await putService(world.directory, CLUSTER_ID, { id, kind: "host", mode: "none" });
}

export async function endMaintenance({ directory, hosts }: MachineWorld): Promise<void> {
  for (const { id } of hosts) await dropService(directory, CLUSTER_ID, id);
}

/** All is well: a host in maintenance is left by its machines, and none of them notices. */
export async function checkMaintenance(world: MachineWorld): Promise<void> {
  const { directory, hosts, names } = world;
  // Until what hosts reach is known everywhere: one that reached too little is left otherwise.
  await world.pass(TOLD_MS);
  const countOn = (id: string): number => names.filter((name) => world.whereIs(name) === id).length;
  const { id } = hosts.toSorted((a, b) => countOn(b.id) - countOn(a.id))[0]!;
  const moving = names.filter((name) => world.whereIs(name) === id);
  world.trace.add("trial", `${id} is in maintenance: ${moving.join(", ")}`);
  const starts = new Map(moving.map((name) => [name, world.startsOf(name)]));
  await putService(directory, CLUSTER_ID, { id, kind: "host", mode: "none" });
  // What fits nowhere stays, and runs on.
  const hasLeft = async (name: string): Promise<boolean> => {
    if (![id, undefined].includes(world.whereIs(name))) return true;
    return world.layout.isTight && !fitsSomewhere(world, await world.record(name));
  };
  const isEmpty = async (): Promise<boolean> =>
    (await Promise.all(moving.map(hasLeft))).every(Boolean);
  if (!(await world.until(isEmpty, EMPTY_MS_MAX)))
    world.fail("no-progress", `not all of ${moving.join()} have left ${id}`);
  for (const name of moving)
    if (world.startsOf(name) !== starts.get(name))
      world.fail("no-progress", `${name} was started anew instead of being moved`);
  await endMaintenance(world);
  const areProtected = async (): Promise<boolean> =>
    (await Promise.all(names.map((name) => world.record(name)))).every(isProtected);
  await world.until(areProtected, EMPTY_MS_MAX);
}
