/**
 * Values in order, as one array that stays as it is: what changes is changed in a copy, which is
 * made once for all changes between two looks. A change costs a search and a move of what is
 * behind, never a sort.
 */
import { assert } from "./assert.ts";

export class SortedList<T> {
  readonly #orderOf: (value: T) => string;
  #values: T[];
  #isSeen = false;

  /** By what `orderOf` gives for each; `values` in any order. */
  constructor(orderOf: (value: T) => string, values: readonly T[] = []) {
    this.#orderOf = orderOf;
    this.#values = values.toSorted((left, right) => {
      const [a, b] = [orderOf(left), orderOf(right)];
      return a < b ? -1 : a > b ? 1 : 0;
    });
  }

  /** The same array until something changes, and never changed itself. */
  get values(): readonly T[] {
    this.#isSeen = true;
    return this.#values;
  }

  /** Behind those that are equal to it. */
  add(value: T): void {
    this.#changing();
    this.#values.splice(this.#indexBehind(value), 0, value);
  }

  /** This very value, which is there. */
  remove(value: T): void {
    this.#changing();
    let at = this.#indexBehind(value) - 1;
    while (at >= 0 && this.#values[at] !== value) at--;
    assert(at >= 0, "who is taken out of a list is in it");
    this.#values.splice(at, 1);
  }

  #changing(): void {
    if (this.#isSeen) this.#values = this.#values.slice();
    this.#isSeen = false;
  }

  #indexBehind(value: T): number {
    const order = this.#orderOf(value);
    let low = 0;
    let high = this.#values.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#orderOf(this.#values[middle]!) <= order) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
