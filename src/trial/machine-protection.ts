/**
 * Whether what is wanted for machines is written down while the storage network is in parts and the
 * management network is whole: by whoever reaches their homes, and soon after somebody does again.
 */
import { isProtected } from "../cluster/index.ts";
import { CALL_MS } from "./machine-world.ts";
import { areWell } from "./machine-room.ts";
import type { MachineWorld } from "./machine-world.ts";

/** Until hosts have said what they reach. */
const TOLD_MS = 3000;
/** Well before a master tries anew without a reason. */
const WRITTEN_MS_MAX = 15_000;
/** That a question may be under way when the network is whole again. */
const ASKING_MS_MAX = 2500;
const RUNNING_MS_MAX = 40_000;

/** What somebody orders: it is wanted or not, and either way anew. */
export async function changeProtection(world: MachineWorld, name: string): Promise<void> {
  const isWanted = world.prng.chance(0.7);
  await world.change(name, ({ protectionSequence }) => ({
    isProtected: isWanted,
    protectionSequence: protectionSequence + 1,
  }));
}

export async function checkProtection(world: MachineWorld): Promise<void> {
  await orderInParts(world);
  const { disks, hosts, names } = world;
  const reached = names.filter((name) =>
    hosts.some(({ id }) => disks.reachesAll(id, { volumes: world.volumesOf(name) })),
  );
  await areWritten(world, reached, "although some host reaches their homes");
  await world.pass(world.prng.below(2000));
  await makeWhole(world);
  await orderInParts(world);
  await world.pass(world.prng.below(ASKING_MS_MAX));
  await makeWhole(world);
}

async function orderInParts(world: MachineWorld): Promise<void> {
  const { disks, hosts, names, prng } = world;
  if (world.failure !== undefined) return;
  const parts = new Map(hosts.map(({ id }) => [id, prng.below(hosts.length)]));
  world.trace.add("trial", `the storage network is in parts: ${[...parts.values()].join(" ")}`);
  disks.setParts(parts);
  world.callMs = CALL_MS + prng.below(470);
  await world.pass(TOLD_MS);
  for (const name of names)
    await world.change(name, ({ protectionSequence }) => ({
      isProtected: true,
      protectionSequence: protectionSequence + 1,
    }));
}

async function makeWhole(world: MachineWorld): Promise<void> {
  world.trace.add("trial", "the storage network is whole");
  world.disks.split([]);
  // Hosts look at what they reach when a record changes, and not only from time to time.
  await world.change(world.names[0]!, () => ({}));
  await areWritten(world, world.names, "although all homes can be reached again");
  world.callMs = CALL_MS;
  if (!(await world.until(() => areWell(world), RUNNING_MS_MAX)))
    world.fail("no-progress", "not every machine runs after the storage network was in parts");
}

async function areWritten(
  world: MachineWorld,
  names: readonly string[],
  although: string,
): Promise<void> {
  const isWritten = async (): Promise<boolean> => {
    const records = await Promise.all(names.map((name) => world.record(name)));
    return records.every(isProtected);
  };
  if (await world.until(isWritten, WRITTEN_MS_MAX)) return;
  world.fail("protection", `of ${names.join()} not all are protected ${although}`);
}
