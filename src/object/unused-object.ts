/** Objects that nobody is attached to. */
import { CodedError } from "../base/index.ts";
import { ObjectOwner } from "./object-owner.ts";
import type { OwnerWorld } from "./owner-world.ts";

/**
 * Owns an object that nobody uses for a moment, which decides what its components have prepared.
 * Whoever uses it decides that as he goes, and must not lose it to us: a machine may have written
 * again to a volume that was attached only now. Fails as `ObjectOwner.take`, except with
 * `volume-in-use`.
 */
export async function decideUnused(world: OwnerWorld, objectId: string): Promise<void> {
  try {
    const owner = await ObjectOwner.take({ ...world, isGuest: true }, objectId, false);
    await owner.close();
  } catch (error) {
    const isInUse = error instanceof CodedError && error.code === "volume-in-use";
    if (!isInUse) throw error;
  }
}
