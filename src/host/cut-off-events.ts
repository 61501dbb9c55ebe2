/**
 * Events of machines that were cut off: few, whatever machines do. One that connects again at once
 * would drive everything else out of the events, and reasons carry numbers of its choice: so a few
 * kinds of reasons are told for each volume within a minute, and how many others there were after
 * that.
 */
import type { Clock, Timer } from "../ports/index.ts";
import type { NewEvent } from "./event-ring.ts";

const WINDOW_MS = 60_000;
const KINDS_MAX = 4;

export interface CutOff {
  readonly volume: string;
  readonly socket: string;
  readonly reason: string;
  /** It was a fault of this host's, and not the machine's. */
  readonly isOurs: boolean;
}

/** What was told of a volume since its window opened. */
interface Told {
  readonly kinds: Set<string>;
  readonly timer: Timer;
  untoldCount: number;
}

export class CutOffEvents {
  readonly #clock: Pick<Clock, "after">;
  readonly #addEvent: (event: NewEvent) => void;
  readonly #told = new Map<string, Told>();

  constructor(clock: Pick<Clock, "after">, addEvent: (event: NewEvent) => void) {
    this.#clock = clock;
    this.#addEvent = addEvent;
  }

  add(cutOff: CutOff): void {
    const { volume, socket, reason, isOurs } = cutOff;
    const told = this.#toldOf(cutOff);
    // What machines do must not hide what is wrong with us, and the other way round.
    const kind = reason.replaceAll(/\d+/g, "N");
    if (!told.kinds.has(kind) && told.kinds.size < KINDS_MAX) {
      told.kinds.add(kind);
      this.#addEvent({
        level: isOurs ? "error" : "warning",
        kind: "vhost-client-cut-off",
        message: `the machine at volume ${volume} was cut off: ${reason}`,
        details: { volume, socket },
      });
    } else told.untoldCount++;
  }

  /** Tells nothing more. */
  close(): void {
    for (const { timer } of this.#told.values()) timer.cancel();
    this.#told.clear();
  }

  #toldOf({ volume, socket, isOurs }: CutOff): Told {
    const key = isOurs ? `${volume} ours` : volume;
    const present = this.#told.get(key);
    if (present !== undefined) return present;
    const timer = this.#clock.after(WINDOW_MS, () => {
      this.#told.delete(key);
      if (told.untoldCount === 0) return;
      this.#addEvent({
        level: "warning",
        kind: "vhost-client-cut-off",
        message: `machines at volume ${volume} were cut off ${told.untoldCount} more times within a minute`,
        details: { volume, socket },
      });
    });
    const told: Told = { kinds: new Set(), timer, untoldCount: 0 };
    this.#told.set(key, told);
    return told;
  }
}
