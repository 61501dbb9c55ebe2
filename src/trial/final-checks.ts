/**
 * What must be true once nothing goes wrong any more: every host serves again, every volume can be
 * used, all copies are complete and equal, counts and digests of every device agree with its maps.
 */
import { assert, assertDefined } from "../base/index.ts";
import { listIntents, listVolumes } from "../cluster/index.ts";
import { isClean, ReadThrough } from "../store/index.ts";
import { compareLegs, describeMissing, isComplete } from "./copy-checks.ts";
import { BLOCK_SECTORS } from "./linearizability.ts";
import { checkSnapshotCopies, lookForAsked } from "./snapshot-checks.ts";
import { TrialClient } from "./trial-client.ts";
import { CLUSTER_ID } from "./names.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialVolume } from "./trial-volume.ts";
import type { TrialWorld } from "./trial-world.ts";
import { checkSpoken } from "./version-skew.ts";

const HOSTS_MS = 60_000;
const VOLUME_MS = 120_000;
const MENDED_MS = 120_000;
/** Events that wait: timers and requests of a handful of hosts at rest. */
const WAITING_MAX = 3000;

export async function finalChecks(world: TrialWorld): Promise<void> {
  const down = (): string[] => [
    ...world.hosts.filter((host) => !host.isUp && !host.isLost).map(({ name }) => name),
    // Its last restart may still be under way while all hosts are up.
    ...(world.directory.inner === undefined ? ["the directory"] : []),
  ];
  if (!(await world.until(() => down().length === 0, HOSTS_MS)))
    world.fail("no-progress", `${down().join(", ")} did not come back`);
  // Before everything is read, which mends it, too.
  for (const host of world.hosts) if (world.failure === undefined) await checkMended(world, host);
  await lookForAsked(world);
  for (const volume of world.volumes) await checkVolume(world, volume);
  for (const snapshot of world.snapshots)
    if (snapshot.state === "taken" && world.failure === undefined)
      await checkSnapshotCopies(world, snapshot);
  world.isOver = true;
  if (world.failure === undefined) checkSpoken(world);
  if (world.failure === undefined) await checkNothingLeaks(world);
  for (const host of world.hosts) if (world.failure === undefined) await checkDevice(world, host);
  const waiting = world.simulation.countWaiting();
  if (waiting > WAITING_MAX) world.fail("unbounded", `${waiting} events wait at the end`);
}

async function checkVolume(world: TrialWorld, volume: TrialVolume): Promise<void> {
  const { name, sectorCount: sectors } = volume;
  const client = new TrialClient(world, volume, 99);
  const isServed = await world.until(
    () => client.ask({ kind: "data", firstSector: 0, sectorCount: BLOCK_SECTORS }),
    VOLUME_MS,
  );
  if (!isServed) {
    world.fail("no-progress", `${name} is not served after all faults have ended`);
    return;
  }
  const isWhole = await world.until(() => isComplete(world, volume.objectId), VOLUME_MS);
  if (!isWhole) {
    const missing = await describeMissing(world, volume.objectId);
    world.fail("no-progress", `${name} is not complete after all faults have ended: ${missing}`);
  }
  const step = 16 * BLOCK_SECTORS;
  for (let at = 0; at < sectors && world.failure === undefined; at += step) {
    const sectorCount = Math.min(step, sectors - at);
    const ask = { kind: "read", firstSector: at, sectorCount } as const;
    const isRead = await world.until(() => client.ask(ask), VOLUME_MS);
    if (!isRead) world.fail("no-progress", `${name} cannot be read after all faults have ended`);
  }
  if (world.failure !== undefined) return;
  const owner = await client.served();
  if (owner === undefined) world.fail("no-progress", `${name} loses its owner with nothing wrong`);
  else await compareLegs(world, volume.objectId, owner.epoch);
}

/** Components that a record names, or an intent under which they go one day. */
async function namedComponents(world: TrialWorld): Promise<ReadonlySet<string>> {
  const directory = assertDefined(world.directory.inner, "the directory is up");
  // Intents first: what one is dropped for is in a record before.
  const intents = await listIntents(directory, CLUSTER_ID);
  const records = await listVolumes(directory, CLUSTER_ID);
  return new Set([
    ...intents.map(({ componentId }) => componentId),
    ...records.flatMap(({ components }) => components.map(({ componentId }) => componentId)),
  ]);
}

async function checkNothingLeaks(world: TrialWorld): Promise<void> {
  const on = new Map(world.hosts.map((host) => [host, host.device?.components() ?? []]));
  const known = await namedComponents(world);
  for (const [{ name, number }, components] of on)
    for (const { componentId, objectId, deleting } of components)
      // An old copy of a disk brings back what went long ago.
      if (!known.has(componentId) && !deleting && !world.standingOf(number).isSick)
        world.fail("leaked", `component ${componentId} of ${objectId} stays on ${name} for ever`);
}

/** All that a disk has lost or changed is found, and written again from the good copies. */
async function checkMended(world: TrialWorld, host: TrialHost): Promise<void> {
  if (world.plan.scrubTimesSooner === undefined || host.isLost) return;
  const { device, plane } = host;
  assert(device !== undefined && plane !== undefined, "it is up");
  const known = await namedComponents(world);
  // What only an old copy of a disk has brought back is nobody's: there is no good copy of it.
  if (device.components().some(({ componentId }) => !known.has(componentId))) return;
  const { counters } = plane.scrub;
  const before = counters.devicesRead;
  // The first may have begun before the last damage was done. Of nothing nothing is read.
  const isRead = await world.until(
    () => counters.devicesRead >= before + 2 || device.stats().uniqueBytes === 0,
    MENDED_MS,
  );
  if (!isRead) world.fail("no-progress", `the device of ${host.name} is not read to its end`);
  const isMended = await world.until(() => device.stats().badBlocks === 0, MENDED_MS);
  const found = isMended ? await countDamaged(new ReadThrough(device)) : device.stats().badBlocks;
  if (found > 0) world.fail("damaged", `${found} blocks on ${host.name} stay damaged`);
}

async function countDamaged(reader: ReadThrough): Promise<number> {
  let damaged = 0;
  for (let isAtEnd = false; !isAtEnd;) {
    const part = await reader.read();
    damaged += part.damagedBlocks;
    ({ isAtEnd } = part);
  }
  return damaged;
}

async function checkDevice(world: TrialWorld, host: TrialHost): Promise<void> {
  const { device, number, name } = host;
  if (device === undefined || world.standingOf(number).isSick) return;
  const report = await device.scrub();
  if (!isClean(report)) world.fail("references", `${name}: ${JSON.stringify(report)}`);
}
