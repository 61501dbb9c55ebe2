/**
 * Who changed what through this host, and what came of it: kept beside the events, and apart from
 * them, so that no flood of events drives it out. The newest 5000 entries, of which 1000 at most
 * are of what was not done: who is refused, as often as they like, drives out no entry of a change.
 */
import { escapeControls } from "../../base/index.ts";
import type { Clock, MetadataStore } from "../../ports/index.ts";
import { EventRing } from "./event-ring.ts";
import type { NewEvent } from "./event-ring.ts";
import { FewEvents } from "./few-events.ts";
import type { AuditEntryView } from "./views.ts";

const TARGET_LENGTH_MAX = 200;
const NOT_DONE_MAX = 1000;
/** Of each principal within a minute; how many more there were is an entry after that. */
const NOT_DONE_KINDS_MAX = 20;

export type NewAuditEntry = Omit<AuditEntryView, "sequence" | "timeMs">;

export class AuditLog {
  readonly #ring: EventRing;
  readonly #notDone: FewEvents;
  #count = 0;

  /** `onLost` hears that an entry could not be made durable. */
  constructor(store: MetadataStore, clock: Clock, onLost: (error: unknown) => void) {
    const share = { isOf: isNotDone, countMax: NOT_DONE_MAX };
    this.#ring = new EventRing(store, clock, onLost, "audit/", share);
    const add = (event: NewEvent): void => void this.#ring.add(event);
    this.#notDone = new FewEvents(clock, add, NOT_DONE_KINDS_MAX);
  }

  add(entry: NewAuditEntry): void {
    const event = eventOf(entry);
    if (!isNotDone(event)) {
      this.#ring.add(event);
      return;
    }
    this.#notDone.add({
      key: entry.who,
      // The same one again is an entry, too: an administrator counts them.
      kind: String(this.#count++),
      event,
      rest: (untoldCount) =>
        eventOf({
          ...entry,
          operation: "others",
          target: "-",
          outcome: `${untoldCount} more within a minute were not done`,
        }),
    });
  }

  list(after: number, limit: number): readonly AuditEntryView[] {
    return this.#ring.list(after, limit).map(({ sequence, timeMs, details }) => ({
      ...{ sequence, timeMs, who: String(details["who"]), remote: String(details["remote"]) },
      operation: String(details["operation"]),
      target: String(details["target"]),
      outcome: String(details["outcome"]),
    }));
  }

  /** Adds nothing more by itself. */
  close(): void {
    this.#notDone.close();
  }
}

function eventOf({ who, remote, operation, target, outcome }: NewAuditEntry): NewEvent {
  // Whoever is refused chooses it, too, and an administrator's terminal prints it.
  const shown = escapeControls(target.slice(0, TARGET_LENGTH_MAX)) || "-";
  return {
    level: outcome === "done" ? "info" : "warning",
    kind: "audit",
    message: `${who}: ${operation} ${shown}: ${outcome}`,
    details: { who, remote, operation, target: shown, outcome },
  };
}

function isNotDone({ level }: Pick<NewEvent, "level">): boolean {
  return level !== "info";
}
