/** Events of machines that were cut off: few, whatever machines do. */
import type { Clock } from "../../ports/index.ts";
import type { NewEvent } from "./event-ring.ts";
import { FewEvents } from "./few-events.ts";

export interface CutOff {
  readonly volume: string;
  readonly socket: string;
  readonly reason: string;
  /** It was a fault of this host's, and not the machine's. */
  readonly isOurs: boolean;
}

export class CutOffEvents {
  readonly #few: FewEvents;

  constructor(clock: Pick<Clock, "after">, addEvent: (event: NewEvent) => void) {
    this.#few = new FewEvents(clock, addEvent);
  }

  add({ volume, socket, reason, isOurs }: CutOff): void {
    const base = { kind: "vhost-client-cut-off", details: { volume, socket } };
    this.#few.add({
      // What machines do must not hide what is wrong with us, and the other way round.
      key: isOurs ? `${volume} ours` : volume,
      // Reasons carry numbers of the machine's choice.
      kind: reason.replaceAll(/\d+/g, "N"),
      event: {
        ...base,
        level: isOurs ? "error" : "warning",
        message: `the machine at volume ${volume} was cut off: ${reason}`,
      },
      rest: (untoldCount) => ({
        ...base,
        level: "warning",
        message: `machines at volume ${volume} were cut off ${untoldCount} more times within a minute`,
      }),
    });
  }

  /** Tells nothing more. */
  close(): void {
    this.#few.close();
  }
}
