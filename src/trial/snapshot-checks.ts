/** What must be true of snapshots and clones once nothing goes wrong any more. */
import { compareLegs, describeMissing, isComplete } from "./copy-checks.ts";
import { READ_SECTORS, readSnapshot } from "./snapshot-reader.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialSnapshot } from "./trial-volume.ts";
import type { TrialWorld } from "./trial-world.ts";

const SNAPSHOT_MS = 120_000;

/** What became of requests that nobody heard the end of. */
export async function lookForAsked(world: TrialWorld): Promise<void> {
  await world.until(() => world.directory.inner !== undefined, SNAPSHOT_MS);
  for (const clone of [...world.clonesAsked])
    if ((await world.record(clone.objectId)) !== undefined) world.cloneIsThere(clone);
  for (const volume of world.volumes) await world.refresh(volume);
  for (const snapshot of world.snapshots) {
    const { state, objectId } = snapshot;
    if (state === "gone" || state === "taken") continue;
    const isThere = objectId !== "" && (await world.record(objectId)) !== undefined;
    if (!isThere) snapshot.state = "gone";
    else if (state === "asked") snapshot.taken();
    else snapshot.state = "taken";
  }
}

/** It can be read whole, and every copy of it holds the same. */
export async function checkSnapshotCopies(
  world: TrialWorld,
  snapshot: TrialSnapshot,
): Promise<void> {
  const { name, objectId, contents } = snapshot;
  for (let at = 0; at < contents.length; at += READ_SECTORS) {
    const isRead = await world.until(async () => {
      return await readSnapshot(world, await hostOf(world, objectId), snapshot, at);
    }, SNAPSHOT_MS);
    if (!isRead) world.fail("no-progress", `${name} cannot be read after all faults have ended`);
    if (world.failure !== undefined) return;
  }
  const isWhole = await world.until(() => isComplete(world, objectId), SNAPSHOT_MS);
  if (!isWhole) {
    const missing = await describeMissing(world, objectId);
    world.fail("no-progress", `${name} is not complete after all faults have ended: ${missing}`);
  }
  if (world.failure !== undefined) return;
  const host = await hostOf(world, objectId);
  const answer = await host.ask(() => host.serve(objectId, true), SNAPSHOT_MS);
  if (answer.kind !== "done") world.fail("no-progress", `${name} cannot be taken at the end`);
  else await compareLegs(world, objectId, answer.value.epoch);
  host.handOver(objectId);
}

async function hostOf(world: TrialWorld, objectId: string): Promise<TrialHost> {
  const owner = (await world.record(objectId))?.owner;
  const { sickHost } = world.plan.faults;
  const good = world.hosts.filter(({ number }) => number !== sickHost);
  return good.find(({ hostId }) => hostId === owner) ?? world.prng.pick(good);
}
