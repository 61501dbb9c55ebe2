/**
 * The records under one prefix as they are now, for who looks again and again: they are read only
 * if the directory says that something has changed which is not known yet, and parsed only where
 * they have changed. Each look asks the directory, so that what is found is no older than the look,
 * as with `Directory.list`.
 *
 * What is known is always all that was there at some revision. So a stamp that is equal proves that
 * it is what is there now: between two revisions with the same newest record things can only have
 * been deleted, which the count tells. Who watches the prefix anyway passes on what it hears: what
 * has changed is known then without reading the others again.
 */
import type { Directory, DirectoryEvent, DirectoryRecord, DirectoryStamp } from "../ports/index.ts";
import { stampOf } from "./directory-stamp.ts";

interface Parsed<T> {
  readonly revision: number;
  readonly value: T;
}

interface Known<T> {
  /** As it was listed. */
  readonly revision: number;
  readonly byKey: Map<string, Parsed<T>>;
  stamp: DirectoryStamp | undefined;
  values: readonly T[] | undefined;
}

export class FreshList<T> {
  readonly #directory: Directory;
  readonly #prefix: string;
  readonly #parse: (record: DirectoryRecord) => T;
  #known: Known<T> | undefined;
  /** All events from this revision on are passed on. */
  #followedFrom = Infinity;
  /** What came since a listing under way began, of which it may know nothing. */
  #meanwhile: DirectoryEvent[] | undefined;

  constructor(directory: Directory, prefix: string, parse: (record: DirectoryRecord) => T) {
    this.#directory = directory;
    this.#prefix = prefix;
    this.#parse = parse;
  }

  /**
   * In key order; the same array for as long as nothing changes. One at a time. Fails as the
   * directory does.
   */
  async read(): Promise<readonly T[]> {
    if (this.#known !== undefined) {
      const stamp = await this.#directory.stamp(this.#prefix);
      // Not before the answer: events that it knows of are here by then.
      if (isEqual(stampOfKnown(this.#known), stamp)) return valuesOf(this.#known);
    }
    this.#meanwhile = [];
    try {
      const listed = await this.#directory.list(this.#prefix);
      this.#known = this.#knownFrom(listed.records, listed.revision);
      for (const event of this.#meanwhile) this.#apply(event);
    } finally {
      this.#meanwhile = undefined;
    }
    return valuesOf(this.#known);
  }

  /** Every event of the prefix from `revision` on will be passed on, in order, until `unfollow`. */
  follow(revision: number): void {
    this.#followedFrom = revision;
  }

  unfollow(): void {
    this.#followedFrom = Infinity;
  }

  take(event: DirectoryEvent): void {
    if (this.#meanwhile === undefined) this.#apply(event);
    else this.#meanwhile.push(event);
  }

  #apply(event: DirectoryEvent): void {
    const known = this.#known;
    // With a gap before it, it would make something that never was.
    if (known === undefined || known.revision + 1 < this.#followedFrom) return;
    const { key, revision } = event.kind === "put" ? event.record : event;
    if (revision <= known.revision) return;
    try {
      if (event.kind === "delete") known.byKey.delete(key);
      else known.byKey.set(key, { revision, value: this.#parse(event.record) });
    } catch {
      // The next look reads everything and fails by it, as it would have without the event.
      this.#known = undefined;
      return;
    }
    known.stamp = undefined;
    known.values = undefined;
  }

  #knownFrom(records: readonly DirectoryRecord[], revision: number): Known<T> {
    const before = this.#known?.byKey;
    const byKey = new Map<string, Parsed<T>>();
    for (const record of records) {
      const last = before?.get(record.key);
      const isOld = last?.revision === record.revision;
      byKey.set(
        record.key,
        isOld ? last : { revision: record.revision, value: this.#parse(record) },
      );
    }
    return { revision, byKey, stamp: undefined, values: undefined };
  }
}

function isEqual(left: DirectoryStamp, right: DirectoryStamp): boolean {
  return left.count === right.count && left.newestRevision === right.newestRevision;
}

function stampOfKnown<T>(known: Known<T>): DirectoryStamp {
  return (known.stamp ??= stampOf([...known.byKey.values()]));
}

function valuesOf<T>(known: Known<T>): readonly T[] {
  known.values ??= [...known.byKey]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([, { value }]) => value);
  return known.values;
}
