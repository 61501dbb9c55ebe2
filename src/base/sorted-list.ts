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

  /** Before those that are equal to it. */
  add(value: T): void {
    this.#changing();
    this.#values.splice(this.#indexOf(value), 0, value);
  }

  /** This very value, which is there. */
  remove(value: T): void {
    this.#changing();
    const at = this.#values.indexOf(value, this.#indexOf(value));
    assert(at >= 0, "who is taken out of a list is in it");
    this.#values.splice(at, 1);
  }

  #changing(): void {
    if (this.#isSeen) this.#values = this.#values.slice();
    this.#isSeen = false;
  }

  #indexOf(value: T): number {
    return firstNotBefore(this.#values, this.#orderOf(value), this.#orderOf);
  }
}

/** Index of the first value that does not come before `order`. They are in that order. */
export function firstNotBefore<T>(
  values: readonly T[],
  order: string,
  orderOf: (value: T) => string,
): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (orderOf(values[middle]!) < order) low = middle + 1;
    else high = middle;
  }
  return low;
}
