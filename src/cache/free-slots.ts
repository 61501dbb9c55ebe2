/**
 * Entries that no key has: first those that never had one, in order, and before them whatever was
 * given back, last in first out. The list runs through a word of the entries that free ones do not
 * need.
 */
import type { EntryTable } from "./entry-table.ts";

export class FreeSlots {
  readonly #table: EntryTable;
  readonly #slotCount: number;
  #usedCount = 0;
  #first = 0;

  constructor(table: EntryTable, slotCount: number) {
    this.#table = table;
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
    this.#first = this.#table.since(entry);
    return entry;
  }

  give(entry: number): void {
    this.#table.setSince(entry, this.#first);
    this.#first = entry;
  }
}
