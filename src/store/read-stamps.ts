/**
 * Which reads may still use an old meaning of a physical block. Every read carries the stamp that
 * was current when it looked its blocks up; each publish advances the stamp. Blocks freed at stamp
 * S may be handed out again once no read with a stamp up to S is under way.
 */
import { assert } from "../base/index.ts";
import type { SpaceMap } from "./space-map.ts";

export class ReadStamps {
  #current = 1;
  #oldest = 1;
  readonly #active = new Map<number, number>();

  /** Stamp for a read that begins now; give it back with `end`. */
  begin(): number {
    this.#active.set(this.#current, (this.#active.get(this.#current) ?? 0) + 1);
    return this.#current;
  }

  /** Whether nothing was published since the stamp was taken. */
  isCurrent(stamp: number): boolean {
    return stamp === this.#current;
  }

  end(stamp: number, space: SpaceMap): void {
    const left = (this.#active.get(stamp) ?? 0) - 1;
    assert(left >= 0, "a read ended twice");
    if (left > 0) {
      this.#active.set(stamp, left);
      return;
    }
    this.#active.delete(stamp);
    if (stamp < this.#current) this.settle(space);
  }

  /** Returns the stamp whose reads may still see what the publish replaced. */
  advance(): number {
    return this.#current++;
  }

  settle(space: SpaceMap): void {
    while (this.#oldest < this.#current && !this.#active.has(this.#oldest)) this.#oldest++;
    space.releaseQuarantine(this.#oldest - 1);
  }
}
