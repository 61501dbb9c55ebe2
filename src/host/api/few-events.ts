/**
 * Events of what somebody else can cause as often as they like: few, whatever that one does, so
 * that it does not drive everything else out. A few kinds are told for each key within a minute,
 * and how many others there were after that.
 */
import type { Clock, Timer } from "../../ports/index.ts";
import type { NewEvent } from "./event-ring.ts";

const WINDOW_MS = 60_000;

export interface Few {
  /** What counts by itself; never of the causer's choice, since each takes some memory. */
  readonly key: string;
  /** What is told once a minute; of the causer's choice, perhaps. */
  readonly kind: string;
  readonly event: NewEvent;
  /** Told at the end of the minute for those that were left out. */
  readonly rest: (untoldCount: number) => NewEvent;
}

/** What was told of a key since its window opened. */
interface Told {
  readonly kinds: Set<string>;
  readonly timer: Timer;
  untoldCount: number;
}

export class FewEvents {
  readonly #clock: Pick<Clock, "after">;
  readonly #addEvent: (event: NewEvent) => void;
  readonly #kindsMax: number;
  readonly #told = new Map<string, Told>();

  constructor(
    clock: Pick<Clock, "after">,
    addEvent: (event: NewEvent) => void,
    kindsMax: number = 4,
  ) {
    this.#clock = clock;
    this.#addEvent = addEvent;
    this.#kindsMax = kindsMax;
  }

  add({ key, kind, event, rest }: Few): void {
    const told = this.#toldOf(key, rest);
    if (!told.kinds.has(kind) && told.kinds.size < this.#kindsMax) {
      told.kinds.add(kind);
      this.#addEvent(event);
    } else told.untoldCount++;
  }

  /** Tells nothing more. */
  close(): void {
    for (const { timer } of this.#told.values()) timer.cancel();
    this.#told.clear();
  }

  #toldOf(key: string, rest: Few["rest"]): Told {
    const present = this.#told.get(key);
    if (present !== undefined) return present;
    const timer = this.#clock.after(WINDOW_MS, () => {
      this.#told.delete(key);
      if (told.untoldCount > 0) this.#addEvent(rest(told.untoldCount));
    });
    const told: Told = { kinds: new Set(), timer, untoldCount: 0 };
    this.#told.set(key, told);
    return told;
  }
}
