/** Room for machines: who may wait for it, and what must come of it when it is back. */
import type { VmRecord } from "../cluster/index.ts";
import { admissionProblem, hostsOnDuty, HostViews, isUnderWay } from "../ha/index.ts";
import type { MachineHost } from "./machine-host.ts";
import type { MachineWorld } from "./machine-world.ts";
import { CLUSTER_ID } from "./names.ts";

/** From a change of the room there is to machines that run, or have none: five levels at most. */
const SETTLED_MS_MAX = 40_000;
/** Far longer than attempts to start would be put off. */
const WAITED_MS_MAX = 120_000;
const WAITS_FOR_ROOM = "waits for room";

/** It runs, or there is no room for it anywhere: then it waits. Or nobody is to start it. */
export async function isWell(world: MachineWorld, name: string): Promise<boolean> {
  const record = await world.record(name);
  const { hostId, desired, isProtected } = record;
  if (desired !== "running" || world.whereIs(name) !== undefined) return true;
  const isLeftDown = !isProtected && hostId !== undefined && !world.host(hostId).isUp;
  return isLeftDown || (world.layout.isTight && !fitsSomewhere(world, record));
}

export async function areWell(world: MachineWorld): Promise<boolean> {
  for (const name of world.names) if (!(await isWell(world, name))) return false;
  return true;
}

/** On another host than its own, by what the records say. */
export function fitsSomewhere(world: MachineWorld, { hostId, memoryBytes }: VmRecord): boolean {
  const others = world.hosts.filter(({ id, isUp }) => isUp && id !== hostId);
  return others.some(({ id }) => world.placements.freeOn(id) >= memoryBytes);
}

/**
 * All is well: what a host that loses its power leaves runs elsewhere as far as there is room, and
 * all of it if admission control said so; the rest waits without an attempt being used up, and
 * runs in the order of the priorities once there is room.
 */
export async function checkRoom(world: MachineWorld): Promise<void> {
  await leaveSomeUnprotected(world);
  // Somebody may see to it that hosts may fail.
  if (world.prng.chance(0.6)) await endUntilAdmitted(world);
  // Room that was there before is given away before, and none comes from who is still moving.
  await world.until(
    async () => (await areWell(world)) && !(await isSomeoneMoving(world)),
    SETTLED_MS_MAX,
  );
  const problem = await whyNotAdmitted(world);
  const isAdmitted = problem === undefined;
  const records = await recordsOf(world);
  const loadOf = ({ id }: MachineHost): number =>
    records.reduce((sum, { hostId, memoryBytes }) => sum + (hostId === id ? memoryBytes : 0), 0);
  const [victim] = world.hosts.toSorted((a, b) => loadOf(b) - loadOf(a));
  world.placements.isInOrder = true;
  world.trace.add("trial", `power of ${victim!.id} is cut: ${problem ?? "there is room for that"}`);
  victim!.cutPower();
  await settle(world, `after the failure of ${victim!.id}`);
  await isPlacedElsewhere(world, records, victim!, isAdmitted);
  await world.pass(world.prng.below(WAITED_MS_MAX));
  if (world.failure === undefined) await checkAttempts(world, records);
  world.trace.add("trial", "there is more room");
  if (world.prng.chance(0.5)) victim!.start();
  else await endOne(world);
  await settle(world, "although there is more room");
  if (world.failure === undefined) await checkAttempts(world, records);
  world.placements.isInOrder = false;
}

async function isSomeoneMoving(world: MachineWorld): Promise<boolean> {
  return (await recordsOf(world)).some((record) => isUnderWay(record));
}

async function recordsOf(world: MachineWorld): Promise<readonly VmRecord[]> {
  return await Promise.all(world.names.map((name) => world.record(name)));
}

async function settle(world: MachineWorld, when: string): Promise<void> {
  // Not before the lease of who has failed has ended: until then its machines have their room.
  await world.pass(12_000);
  if (await world.until(() => areWell(world), SETTLED_MS_MAX)) return;
  for (const name of world.names)
    if (!(await isWell(world, name)))
      world.fail("no-progress", `${name} does not run ${when}, and there is room for it`);
}

async function isPlacedElsewhere(
  world: MachineWorld,
  records: readonly VmRecord[],
  { id }: MachineHost,
  isAdmitted: boolean,
): Promise<void> {
  for (const { name, hostId, desired, isProtected } of records) {
    const isToRun = desired === "running" && isProtected;
    if (hostId !== id || !isToRun || world.whereIs(name) !== undefined) continue;
    if (isAdmitted)
      world.fail("admission", `${name} has no place although ${id} was to be allowed to fail`);
    const { history } = await world.record(name);
    if (!history.some(({ what }) => what === WAITS_FOR_ROOM))
      world.fail("no-progress", `${name} waits for room, and nobody says so`);
  }
}

/** Only starts that failed count, and none has here. */
async function checkAttempts(world: MachineWorld, before: readonly VmRecord[]): Promise<void> {
  for (const { name, failureCount } of before) {
    const now = (await world.record(name)).failureCount;
    if (now > failureCount)
      world.fail("no-progress", `${name} has ${now} failed starts by waiting, not ${failureCount}`);
  }
}

/** The one that runs with the lowest priority is told to end. False if none runs. */
async function endOne(world: MachineWorld): Promise<boolean> {
  const running = (await recordsOf(world)).filter(({ name }) => world.whereIs(name) !== undefined);
  const [last] = running.toSorted((a, b) => b.priority - a.priority);
  if (last === undefined) return false;
  await world.change(last.name, () => ({ desired: "killed" }));
  const isOver = async (): Promise<boolean> => (await world.record(last.name)).hostId === undefined;
  await world.until(isOver, SETTLED_MS_MAX);
  // Who has waited for that room has it then.
  await world.until(() => areWell(world), SETTLED_MS_MAX);
  return true;
}

async function endUntilAdmitted(world: MachineWorld): Promise<void> {
  while ((await whyNotAdmitted(world)) !== undefined) if (!(await endOne(world))) return;
}

async function leaveSomeUnprotected(world: MachineWorld): Promise<void> {
  for (const name of world.names)
    if (world.prng.chance(0.2))
      await world.change(name, ({ protectionSequence }) => ({
        isProtected: false,
        protectionSequence: protectionSequence + 1,
      }));
  const isWritten = async (): Promise<boolean> =>
    (await recordsOf(world)).every((vm) => vm.persistedSequence === vm.protectionSequence);
  await world.until(isWritten, SETTLED_MS_MAX);
}

/** As `drystone ha show` says it, for one host that fails. */
async function whyNotAdmitted(world: MachineWorld): Promise<string | undefined> {
  const { directory } = world;
  const vms = await recordsOf(world);
  const alive = await hostsOnDuty(directory, CLUSTER_ID);
  const views = await HostViews.read(directory, CLUSTER_ID);
  if (world.mutant?.admitsBySums === true) return whyNotBySums(vms, alive, views);
  const nameOf = (hostId: string): string => hostId;
  const closed = new Set<string>();
  return admissionProblem({ vms, alive, views, closed, nameOf, toleratedHosts: 1 })?.because;
}

/** The mutant's way. */
function whyNotBySums(
  vms: readonly VmRecord[],
  alive: readonly string[],
  views: HostViews,
): string | undefined {
  const kept = vms.filter(({ desired, isProtected }) => desired === "running" && isProtected);
  const needed = kept.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const rooms = alive.map((id) => views.capacityOf(id).memoryBytes).toSorted((a, b) => b - a);
  const left = rooms.slice(1).reduce((sum, memoryBytes) => sum + memoryBytes, 0);
  return needed > left ? "there is too little memory in all" : undefined;
}
