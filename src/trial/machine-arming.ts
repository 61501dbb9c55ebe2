/**
 * High availability is disarmed for work on the network and armed again, as operators do it, while
 * hosts fail, masters change and messages are late; and records that nobody can read for a while.
 */
import { Prng } from "../base/index.ts";
import { directoryKeys, readHaSettings, swapHaSettings } from "../cluster/index.ts";
import { hostsOnDuty, unheardHosts, unheardWithMachines } from "../ha/index.ts";
import type { MachineHost } from "./machine-host.ts";
import { calmDown } from "./machine-late.ts";
import type { LateMisfortune } from "./machine-late.ts";
import type { MachineWorld } from "./machine-world.ts";
import { CLUSTER_ID } from "./names.ts";

/** Until every host that can be heard knows, with time to spare. */
const TOLD_MS_MAX = 6000;
/** Leases have ended, and who is to be given what was on a host that is gone has it. */
const FAILED_OVER_MS = 20_000;
const ARMED_MS_MAX = 20_000;
const LEASE_MS_MAX = 15_000;
const SHARE = 0.35;
/** Of the misfortunes, so many are followed by an order to arm or to disarm. */
const ORDERS_SHARE = 0.2;

type Order = (world: MachineWorld) => Promise<unknown>;

/** By misfortune before which it is ordered. Drawn apart: trials that have none go their way. */
export function planArming(seed: number, count: number): ReadonlyMap<number, Order> {
  const prng = new Prng(seed ^ 0xd15a);
  const orders = new Map<number, Order>();
  if (!prng.chance(SHARE)) return orders;
  for (let i = 0; i < count; i++)
    if (prng.chance(ORDERS_SHARE)) orders.set(i, prng.chance(0.5) ? disarm : arm);
  return orders;
}

async function disarm(world: MachineWorld): Promise<void> {
  await setArmed(world, false);
  world.trace.add("trial", "high availability is disarmed");
}

/** Refused while a host that has machines is not heard. False if it was. */
async function arm(world: MachineWorld): Promise<boolean> {
  const { directory, names } = world;
  const vms = await Promise.all(names.map((name) => world.record(name)));
  const alive = await hostsOnDuty(directory, CLUSTER_ID);
  const { removed } = await unheardHosts(directory, CLUSTER_ID);
  if (unheardWithMachines(vms, alive, removed).length > 0) return false;
  await setArmed(world, true);
  world.trace.add("trial", "high availability is armed");
  return true;
}

/** All hosts are back: nothing is in the way of it, and each of them goes by it soon. */
export async function armAtLast(world: MachineWorld): Promise<void> {
  if (!(await world.until(() => arm(world), ARMED_MS_MAX)))
    world.fail("disarmed", "it cannot be armed although every host is back");
  const isKnown = async (): Promise<boolean> => (await unbound(world)).size === 0;
  if (!(await world.until(isKnown, ARMED_MS_MAX)))
    world.fail("disarmed", "not every host says that it knows that it is armed");
}

async function setArmed({ directory }: MachineWorld, isArmed: boolean): Promise<void> {
  for (;;) {
    const stored = await readHaSettings(directory, CLUSTER_ID);
    const next = { ...stored.settings, isArmed };
    if (await swapHaSettings(directory, CLUSTER_ID, stored, next)) return;
  }
}

async function unbound({ directory }: MachineWorld): Promise<ReadonlySet<string>> {
  return (await unheardHosts(directory, CLUSTER_ID)).unbound;
}

/** One that machines run on; undefined if none does. */
function hostWithMachines(world: MachineWorld, prng: Prng): MachineHost | undefined {
  const hosts = world.hosts.filter(({ id }) => machinesOn(world, id).length > 0);
  return hosts.length === 0 ? undefined : prng.pick(hosts);
}

function machinesOn(world: MachineWorld, hostId: string): readonly string[] {
  return world.names.filter((name) => world.whereIs(name) === hostId);
}

/** Every host goes by it. */
async function disarmInCalm(world: MachineWorld): Promise<void> {
  await calmDown(world);
  await disarm(world);
  await world.pass(TOLD_MS_MAX);
}

/**
 * A host is cut off and others arm before its lease ends: it does not hear of that, and runs its
 * machines on. The master may lose its power meanwhile.
 */
async function armedWhileCutOff(world: MachineWorld, prng: Prng): Promise<void> {
  await disarmInCalm(world);
  const host = hostWithMachines(world, prng);
  if (host === undefined) return;
  const names = machinesOn(world, host.id);
  world.trace.add("fault", `${host.id} is cut off with ${names.join(", ")}, and others arm`);
  world.cut([host]);
  await world.pass(prng.below(1500));
  await arm(world);
  if (prng.chance(0.4)) await masterFails(world, host);
  await world.pass(FAILED_OVER_MS);
  const ended = names.filter((name) => world.whereIs(name) !== host.id);
  if (ended.length > 0)
    world.fail("disarmed", `${ended.join()} run on ${host.id} no more, which was disarmed`);
  world.cut([]);
  await world.pass(TOLD_MS_MAX);
}

/** Whatever becomes of hosts and masters while it is disarmed: what was theirs stays theirs. */
async function diesWhileDisarmed(world: MachineWorld, prng: Prng): Promise<void> {
  await disarmInCalm(world);
  const host = hostWithMachines(world, prng);
  if (host === undefined) return;
  world.trace.add("fault", `${host.id} loses its power while that is disarmed`);
  host.cutPower();
  if (prng.chance(0.5)) await masterFails(world, host);
  await world.pass(FAILED_OVER_MS);
  if (await arm(world))
    world.fail("disarmed", `it is armed although ${host.id} has machines and is not heard`);
  for (const one of world.hosts) if (!one.isUp) one.start();
}

/** The master has seen that it is armed, and is about to give a failed host's machines away. */
async function disarmedWhileDeciding(world: MachineWorld, prng: Prng): Promise<void> {
  await calmDown(world);
  if (!(await world.until(() => arm(world), ARMED_MS_MAX))) return;
  const host = hostWithMachines(world, prng);
  const master = world.hosts.find(({ id }) => id !== host?.id);
  if (host === undefined || master === undefined) return;
  const key = directoryKeys.vmHost(CLUSTER_ID, host.id);
  host.cutPower();
  const endMs = world.simulation.nowMs + LEASE_MS_MAX;
  while ((await world.directory.get(key)) !== undefined && world.simulation.nowMs < endMs)
    await world.pass(1);
  await world.pass(prng.below(12));
  world.trace.add("fault", "hosts are told late, and that is disarmed");
  for (const one of world.hosts) if (one.isUp) world.holdAnswers(one, true);
  await disarm(world);
  await world.pass(prng.below(500));
  for (const one of world.hosts) if (one.isUp) world.holdAnswers(one, false);
  await world.pass(prng.below(3000));
  if (!host.isUp) host.start();
}

async function masterFails(world: MachineWorld, other: MachineHost): Promise<void> {
  const key = directoryKeys.vmMaster(CLUSTER_ID);
  const master = (await world.directory.get(key))?.value;
  if (master === undefined || master === other.id) return;
  world.trace.add("fault", `the master, ${master}, is killed`);
  world.host(master).killProcess();
}

/** A newer version has written it, or it is damaged: its machine is left as it is. */
async function recordUnreadable(world: MachineWorld, prng: Prng): Promise<void> {
  // What it takes of its host's room nobody knows meanwhile.
  if (world.layout.isTight) return;
  await calmDown(world);
  const running = world.names.filter((name) => world.whereIs(name) !== undefined);
  if (running.length === 0) return;
  const name = prng.pick(running);
  const [where, starts] = [world.whereIs(name), world.startsOf(name)];
  const key = directoryKeys.vm(CLUSTER_ID, name);
  const { directory } = world;
  const whole = (await directory.get(key))!.value;
  const put = async (value: string): Promise<void> =>
    void (await directory.transact([], [{ kind: "put", key, value }]));
  world.trace.add("fault", `the record of ${name} cannot be read`);
  await put(prng.pick([`{"format":99}`, whole.slice(0, whole.length / 2)]));
  await world.pass(prng.between(2000, FAILED_OVER_MS));
  if (world.whereIs(name) !== where || world.startsOf(name) !== starts)
    world.fail(
      "unreadable",
      `${name} is not left as it is, on ${where}, though nobody can read it`,
    );
  await put(whole);
}

export const ARMING_MISFORTUNES: readonly LateMisfortune[] = [
  armedWhileCutOff,
  diesWhileDisarmed,
  disarmedWhileDeciding,
  recordUnreadable,
];
