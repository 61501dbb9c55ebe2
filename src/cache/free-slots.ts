/**
 * Entries that no key has: first those that never had one, in order, and before them whatever was
 * given back, last in first out. The list runs through an array of the owner's that free entries
 * do not need.
 */
export class FreeSlots {
  readonly #links: Int32Array;
  readonly #slotCount: number;
  #usedCount = 0;
  #first = 0;

  constructor(links: Int32Array, slotCount: number) {
    this.#links = links;
    this.#slotCount = slotCount;
  }

  /** True until every entry has had a key once. */
  get hasUntouched(): boolean {
    return this.#usedCount < this.#slotCount;
  }

  /** 0 if there is none. */
  take(): number {
    const entry = this.#first;
    if (entry === 0) return this.hasUntouched ? ++this.#usedCount : 0;
    this.#first = this.#links[entry]!;
    return entry;
  }

  give(entry: number): void {
    this.#links[entry] = this.#first;
    this.#first = entry;
  }
}
