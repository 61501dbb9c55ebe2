/**
 * The records under one prefix of the directory, kept up by a watch: what everybody looks at often
 * and what seldom changes is read once, and afterwards costs what changes.
 *
 * A mirror is a moment behind. It is for those who look, and whose changes are conditional on the
 * revision they have read; who has to know how things are now reads the directory itself.
 */
import type {
  Clock,
  Directory,
  DirectoryEvent,
  DirectoryRecord,
  DirectoryWatch,
} from "../ports/index.ts";
import { SortedList } from "../base/index.ts";
import { DirectoryPulse } from "./directory-pulse.ts";

export interface DirectoryMirrorWorld<T> {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly prefix: string;
  /** Of several mirrors of one directory; without it the mirror asks by itself. */
  readonly pulse?: DirectoryPulse | undefined;
  /** Fails where the record is damaged. */
  readonly parse: (key: string, value: string) => T;
  /** What the values are in the order of. */
  readonly orderOf: (value: T) => string;
}

export class DirectoryMirror<T> {
  readonly #world: DirectoryMirrorWorld<T>;
  readonly #byKey = new Map<string, T>();
  #sorted: SortedList<T>;
  #watch: DirectoryWatch | undefined;
  /** What is there is all there is. */
  #isKept = false;
  /** Of the last listing or event: everything up to here is there. */
  #revision = 0;
  /** Records that were read before the watch told of them, with their revisions. */
  readonly #ahead = new Map<string, number>();
  #generation = 0;
  #opening: Promise<void> | undefined;
  readonly #pulse: DirectoryPulse;
  #isClosed = false;
  #onChange: (before: T | undefined, after: T | undefined) => void = () => {};

  constructor(world: DirectoryMirrorWorld<T>) {
    this.#world = world;
    const { directory, clock, prefix, orderOf } = world;
    this.#sorted = new SortedList(orderOf);
    this.#pulse = world.pulse ?? new DirectoryPulse(directory, clock, prefix);
  }

  /**
   * Who is told of each change as it comes, while the mirror is kept up. What changes while it is
   * not shows at the next look only.
   */
  onChange(callback: (before: T | undefined, after: T | undefined) => void): void {
    this.#onChange = callback;
  }

  /**
   * All of them, in order; the same array for as long as nothing changes. Fails as the directory
   * does, or as `parse`.
   */
  async values(): Promise<readonly T[]> {
    await this.#pulse.confirm();
    while (!this.#isKept && !this.#isClosed) {
      this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
      await this.#opening;
    }
    return this.#sorted.values;
  }

  /**
   * Whoever has changed this record sees it from the next look on, however far behind the watch is.
   * Fails as the directory does.
   */
  async include(key: string): Promise<void> {
    const generation = this.#generation;
    const record = await this.#world.directory.get(key);
    // What is listed from now on has it.
    if (generation !== this.#generation) return;
    // A listing that is under way may not.
    if (!this.#isKept) return this.#readAnew();
    // If it has gone again, the watch tells.
    if (record === undefined) return;
    if (record.revision <= (this.#ahead.get(key) ?? this.#revision)) return;
    this.#ahead.set(key, record.revision);
    this.#put(record);
  }

  #readAnew(): void {
    this.#generation++;
    this.#isKept = false;
    this.#ahead.clear();
    this.#watch?.cancel();
    this.#watch = undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.#readAnew();
  }

  async #open(): Promise<void> {
    const { directory, prefix, parse, orderOf } = this.#world;
    const generation = this.#generation;
    const { records, revision } = await directory.list(prefix);
    // What was asked for meanwhile may be newer than this.
    if (generation !== this.#generation) return;
    this.#pulse.heard();
    this.#byKey.clear();
    for (const { key, value } of records) this.#byKey.set(key, parse(key, value));
    this.#sorted = new SortedList(orderOf, [...this.#byKey.values()]);
    this.#revision = revision;
    this.#isKept = true;
    const ifCurrent = (act: () => void): void => {
      if (generation === this.#generation) act();
    };
    this.#watch = directory.watch(
      prefix,
      revision + 1,
      (event) => ifCurrent(() => this.#take(event)),
      () => ifCurrent(() => this.#readAnew()),
    );
  }

  #take(event: DirectoryEvent): void {
    const { key, revision } = event.kind === "delete" ? event : event.record;
    this.#revision = revision;
    const aheadTo = this.#ahead.get(key) ?? 0;
    if (aheadTo <= revision) this.#ahead.delete(key);
    if (aheadTo >= revision) return;
    if (event.kind === "put") return this.#put(event.record);
    const before = this.#byKey.get(key);
    if (before === undefined) return;
    this.#byKey.delete(key);
    this.#sorted.remove(before);
    this.#onChange(before, undefined);
  }

  #put({ key, value }: DirectoryRecord): void {
    let after: T;
    try {
      after = this.#world.parse(key, value);
    } catch {
      // The next look reads everything and fails by it, as it would without a mirror.
      this.#readAnew();
      return;
    }
    const before = this.#byKey.get(key);
    this.#byKey.set(key, after);
    if (before !== undefined) this.#sorted.remove(before);
    this.#sorted.add(after);
    this.#onChange(before, after);
  }
}
