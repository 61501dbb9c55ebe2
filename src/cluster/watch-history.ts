/**
 * The latest changes of a directory, and those who follow them. Bounded: a watcher that asks for
 * changes which are no longer held is told that they are lost, and never misses one in silence.
 */
import { assert } from "../base/index.ts";
import type { DirectoryEvent, DirectoryWatch } from "../ports/index.ts";

interface Watcher {
  readonly prefix: string;
  readonly onEvent: (event: DirectoryEvent) => void;
  readonly onLost: () => void;
  /** Revision of the next event to deliver. */
  nextRevision: number;
}

export class WatchHistory {
  readonly #eventCountMax: number;
  readonly #events: DirectoryEvent[] = [];
  readonly #watchers = new Set<Watcher>();
  /** Changes up to this revision are not held any more. */
  #compactedRevision: number;
  #deliveryScheduled = false;

  constructor(revision: number, eventCountMax: number) {
    assert(eventCountMax >= 1, "a history holds at least one event");
    this.#compactedRevision = revision;
    this.#eventCountMax = eventCountMax;
  }

  /** Adds all changes of one transaction. Watchers hear of them after the current turn. */
  append(events: readonly DirectoryEvent[]): void {
    if (events.length === 0) return;
    this.#events.push(...events);
    if (this.#watchers.size > 0) this.#scheduleDelivery();
    else this.#compact();
  }

  watch(
    prefix: string,
    fromRevision: number,
    onEvent: (event: DirectoryEvent) => void,
    onLost: () => void,
  ): DirectoryWatch {
    const watcher: Watcher = { prefix, onEvent, onLost, nextRevision: fromRevision };
    this.#watchers.add(watcher);
    this.#scheduleDelivery();
    return { cancel: () => void this.#watchers.delete(watcher) };
  }

  /** Nobody hears of anything any more. */
  close(): void {
    this.#watchers.clear();
  }

  #scheduleDelivery(): void {
    if (this.#deliveryScheduled) return;
    this.#deliveryScheduled = true;
    void Promise.resolve().then(() => {
      this.#deliveryScheduled = false;
      for (const watcher of this.#watchers) this.#deliver(watcher);
      this.#compact();
    });
  }

  #deliver(watcher: Watcher): void {
    if (watcher.nextRevision <= this.#compactedRevision) {
      this.#watchers.delete(watcher);
      watcher.onLost();
      return;
    }
    // A callback may append: the length is read again in each round.
    for (let i = this.#firstFrom(watcher.nextRevision); i < this.#events.length; i++) {
      const event = this.#events[i]!;
      watcher.nextRevision = revisionOf(event) + 1;
      if (keyOf(event).startsWith(watcher.prefix)) watcher.onEvent(event);
      if (!this.#watchers.has(watcher)) return;
    }
  }

  /** Index of the first event with at least this revision. */
  #firstFrom(revision: number): number {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (revisionOf(this.#events[middle]!) < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Drops the oldest transactions, whole. */
  #compact(): void {
    const excess = this.#events.length - this.#eventCountMax;
    if (excess <= 0) return;
    this.#compactedRevision = revisionOf(this.#events[excess - 1]!);
    this.#events.splice(0, this.#firstFrom(this.#compactedRevision + 1));
  }
}

function keyOf(event: DirectoryEvent): string {
  return event.kind === "put" ? event.record.key : event.key;
}

function revisionOf(event: DirectoryEvent): number {
  return event.kind === "put" ? event.record.revision : event.revision;
}
