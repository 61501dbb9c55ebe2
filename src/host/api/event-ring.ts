/**
 * What happened on this host: the newest events, numbered without gaps, kept over restarts in a
 * metadata store of their own. Bounded: the oldest go, and of those that have a share of their own
 * the oldest of these. An event may be lost with a crash in the instant after it happened; its
 * number is then given to the next one.
 */
import { assert } from "../../base/index.ts";
import { MetadataBatch } from "../../ports/index.ts";
import type { Clock, MetadataStore } from "../../ports/index.ts";
import { isRecord } from "./shape.ts";
import type { EventLevel, EventView } from "./views.ts";

export const EVENTS_KEPT = 5000;
/** Longer messages are cut: a client's text must not fill the ring. */
const MESSAGE_LENGTH_MAX = 1000;

/** Of the keys in the store; all have six letters. */
type EventPrefix = "event/" | "audit/";

export interface NewEvent {
  readonly level: EventLevel;
  readonly kind: string;
  readonly message: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** Events that take no more than a share, and so drive out none but each other. */
export interface RingShare {
  readonly isOf: (event: Pick<EventView, "level">) => boolean;
  readonly countMax: number;
}

export class EventRing {
  readonly #store: MetadataStore;
  readonly #clock: Clock;
  readonly #events: EventView[] = [];
  readonly #listeners = new Set<(event: EventView) => void>();
  readonly #onLost: (error: unknown) => void;
  readonly #prefix: EventPrefix;
  readonly #share: RingShare | undefined;
  #shareCount = 0;
  #lastSequence = 0;

  /** `onLost` hears that an event could not be made durable. */
  constructor(
    store: MetadataStore,
    clock: Clock,
    onLost: (error: unknown) => void,
    prefix: EventPrefix = "event/",
    share?: RingShare,
  ) {
    this.#share = share;
    this.#prefix = prefix;
    this.#store = store;
    this.#clock = clock;
    this.#onLost = onLost;
    let damagedCount = 0;
    const left = new MetadataBatch();
    let leftCount = 0;
    store.scan(keyOf(prefix, 0), keyOf(prefix, Number.MAX_SAFE_INTEGER), (_key, value) => {
      const event = parseEvent(value);
      if (event === undefined || event.sequence <= this.#lastSequence) {
        damagedCount++;
        return true;
      }
      const dropped = this.#keep(event);
      if (dropped === undefined) return true;
      left.delete(keyOf(prefix, dropped));
      leftCount++;
      return true;
    });
    // What an older version has kept beyond the share.
    if (leftCount > 0) store.commit(left).catch(onLost);
    if (damagedCount > 0) this.add(damagedEvent(damagedCount));
  }

  get lastSequence(): number {
    return this.#lastSequence;
  }

  add(event: NewEvent): EventView {
    const kept: EventView = {
      sequence: this.#lastSequence + 1,
      timeMs: Math.round(this.#clock.wallMs()),
      level: event.level,
      kind: event.kind,
      message: event.message.slice(0, MESSAGE_LENGTH_MAX),
      details: event.details,
    };
    const batch = new MetadataBatch();
    const dropped = this.#keep(kept);
    if (dropped !== undefined) batch.delete(keyOf(this.#prefix, dropped));
    batch.put(keyOf(this.#prefix, kept.sequence), new TextEncoder().encode(JSON.stringify(kept)));
    this.#store.commit(batch).catch(this.#onLost);
    for (const listener of this.#listeners) listener(kept);
    return kept;
  }

  /** The newest `limit` events with a sequence above `after`, oldest first. */
  list(after: number, limit: number): EventView[] {
    return this.#events.filter((event) => event.sequence > after).slice(-limit);
  }

  /** Calls `listener` for each event from now on; returns how to stop. */
  follow(listener: (event: EventView) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get followerCount(): number {
    return this.#listeners.size;
  }

  /** Returns the sequence that had to go to make room. */
  #keep(event: EventView): number | undefined {
    assert(event.sequence > this.#lastSequence, "event sequences only grow");
    this.#lastSequence = event.sequence;
    this.#events.push(event);
    if (this.#share?.isOf(event) === true && ++this.#shareCount > this.#share.countMax)
      return this.#drop(this.#events.findIndex(this.#share.isOf));
    return this.#events.length > EVENTS_KEPT ? this.#drop(0) : undefined;
  }

  #drop(index: number): number | undefined {
    const [dropped] = this.#events.splice(index, 1);
    if (dropped !== undefined && this.#share?.isOf(dropped) === true) this.#shareCount--;
    return dropped?.sequence;
  }
}

/** Big-endian, so that the store's order is the order of the numbers. */
function keyOf(prefix: EventPrefix, sequence: number): Uint8Array {
  const key = new Uint8Array(14);
  new TextEncoder().encodeInto(prefix, key);
  new DataView(key.buffer).setBigUint64(6, BigInt(sequence));
  return key;
}

function damagedEvent(damagedCount: number): NewEvent {
  return {
    level: "warning",
    kind: "events-damaged",
    message: `${damagedCount} stored events could not be read and are left out`,
    details: { damagedCount },
  };
}

/** Undefined if it is damaged: an unreadable event must not keep a host from starting. */
function parseEvent(value: Uint8Array): EventView | undefined {
  let event: unknown;
  try {
    event = JSON.parse(new TextDecoder().decode(value));
  } catch {
    return undefined;
  }
  if (!isRecord(event) || typeof event["sequence"] !== "number") return undefined;
  if (typeof event["kind"] !== "string" || typeof event["message"] !== "string") return undefined;
  return event as unknown as EventView;
}
