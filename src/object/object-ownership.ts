/** How an object changes hands: taken at the next epoch, and given up, by compare-and-swap. */
import { assert, CodedError, errorText, marks } from "../base/index.ts";
import { findObject, swapObject } from "../cluster/index.ts";
import type { ObjectRecord, StoredObject } from "../cluster/index.ts";
import type { OwnerWorld } from "./owner-world.ts";

export const SWAP_ATTEMPTS_MAX = 8;

/** Makes this host the owner at the next epoch. */
export async function swapOwner(world: OwnerWorld, objectId: string): Promise<StoredObject> {
  const { directory, clusterId, hostId } = world;
  let stored: StoredObject | undefined;
  for (let attempt = 0; attempt < SWAP_ATTEMPTS_MAX; attempt++) {
    stored = await findObject(directory, clusterId, objectId);
    if (stored === undefined)
      throw new CodedError({
        code: "volume-not-found",
        message: `there is no volume with the id ${objectId}`,
      });
    const { record } = stored;
    const { owner } = record;
    if (owner !== undefined) {
      if (world.isGuest === true && owner === hostId) throw inUse(record, world.nameOf(owner));
      const mayBeAtWork = owner === hostId || (await world.isHostAlive(owner));
      if (mayBeAtWork && (await hasLeft(world, owner, objectId))) continue;
      if (mayBeAtWork && owner !== hostId) throw inUse(record, owner);
    }
    const next = { ...record, epoch: record.epoch + 1, owner: hostId };
    const swapped = await swapObject(directory, clusterId, stored, next);
    if (swapped !== undefined) return swapped;
  }
  assert(stored !== undefined, "at least one attempt was made");
  throw contended(stored.record);
}

/** Whoever only repairs an object makes way for those who use it. */
async function hasLeft(world: OwnerWorld, owner: string, objectId: string): Promise<boolean> {
  if (world.isGuest === true || world.askToLeave === undefined) return false;
  return await world.askToLeave(owner, objectId);
}

function inUse(record: ObjectRecord, owner: string): CodedError {
  return new CodedError({
    code: "volume-in-use",
    message: `${record.name} is in use on host ${owner}`,
    hint: `detach it there first: \`drystone volume detach ${record.name}\``,
  });
}

/** Gives ownership up, if it is still as `stored` says. */
export async function release(world: OwnerWorld, stored: StoredObject): Promise<boolean> {
  const { directory, clusterId, hostId } = world;
  let latest: StoredObject | undefined = stored;
  for (let attempt = 0; attempt < SWAP_ATTEMPTS_MAX; attempt++) {
    const { record }: StoredObject = latest;
    if (record.owner !== hostId || record.epoch !== stored.record.epoch) return false;
    const next = { ...record, owner: undefined };
    if ((await swapObject(directory, clusterId, latest, next)) !== undefined) return true;
    latest = await findObject(directory, clusterId, record.objectId);
    if (latest === undefined) return false;
  }
  return false;
}

/**
 * Gives up what the record says that this host owns, although nobody here does: a take that failed
 * while the directory was away, or that it did not answer, leaves that. False if it is not so.
 */
export async function releaseLeftover(
  world: OwnerWorld,
  objectId: string,
  isOwnedHere: () => boolean,
): Promise<boolean> {
  const { directory, clusterId, hostId } = world;
  if (isOwnedHere()) return false;
  const stored = await findObject(directory, clusterId, objectId);
  // Whoever begins to take it from now on finds the record changed, and reads it again.
  if (stored?.record.owner !== hostId || isOwnedHere()) return false;
  const next = { ...stored.record, owner: undefined };
  if ((await swapObject(directory, clusterId, stored, next)) === undefined) return false;
  marks.hit("an ownership that nobody had was given up");
  world.log.write("warning", `${next.name} was owned by nobody here: given up`, { objectId });
  return true;
}

/** The failure that led here is the one to report. */
export async function releaseAfterFailure(world: OwnerWorld, stored: StoredObject): Promise<void> {
  try {
    await release(world, stored);
  } catch (error) {
    const { objectId } = stored.record;
    world.log.write("warning", `ownership not given up: ${errorText(error)}`, { objectId });
  }
}

export function contended(record: ObjectRecord): CodedError {
  return new CodedError({
    code: "object-contended",
    message: `the record of ${record.name} changes too often`,
    hint: "try again",
  });
}
