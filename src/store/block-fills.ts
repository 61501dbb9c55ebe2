/**
 * Which physical blocks are on their way from the disk into the block cache, and who waits for
 * them: readers that want a block at once read it once.
 */
import { assert } from "../base/index.ts";

const NOBODY: readonly number[] = [];

export class BlockFills {
  /** Null as long as nobody waits. */
  readonly #waiting = new Map<number, number[] | null>();

  /** True if the caller reads the block now, and will `end` it; false if somebody else does. */
  begin(physical: number): boolean {
    if (this.#waiting.has(physical)) return false;
    this.#waiting.set(physical, null);
    return true;
  }

  wait(physical: number, ticket: number): void {
    const tickets = this.#waiting.get(physical);
    assert(tickets !== undefined, "nobody reads the block");
    if (tickets === null) this.#waiting.set(physical, [ticket]);
    else tickets.push(ticket);
  }

  /** The block is in the cache, or could not be read: the tickets of those who waited for it. */
  end(physical: number): readonly number[] {
    const tickets = this.#waiting.get(physical);
    assert(tickets !== undefined, "a block is read to its end once");
    this.#waiting.delete(physical);
    return tickets ?? NOBODY;
  }
}
