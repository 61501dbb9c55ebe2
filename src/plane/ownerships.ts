/** What this host owns, and what it is about to take. */
import type { OwnedObject } from "../object/index.ts";

export class Ownerships {
  readonly #owned = new Map<string, OwnedObject>();
  /** How many are at it, by object. */
  readonly #taking = new Map<string, number>();

  owned(): readonly OwnedObject[] {
    return [...this.#owned.values()];
  }

  /** Returns how to tell that the object is owned no longer: nothing of it is kept then. */
  taken(owned: OwnedObject): () => void {
    const { objectId } = owned;
    this.#owned.set(objectId, owned);
    return () => {
      // It may have been taken again meanwhile.
      if (this.#owned.get(objectId) === owned) this.#owned.delete(objectId);
    };
  }

  /** Somebody begins to take the object. Returns how to tell that this has ended. */
  taking(objectId: string): () => void {
    this.#taking.set(objectId, (this.#taking.get(objectId) ?? 0) + 1);
    return () => {
      const left = (this.#taking.get(objectId) ?? 0) - 1;
      if (left > 0) this.#taking.set(objectId, left);
      else this.#taking.delete(objectId);
    };
  }

  /** Whether somebody on this host has the object, or may have it in a moment. */
  has(objectId: string): boolean {
    return this.#taking.has(objectId) || this.#owned.has(objectId);
  }
}
