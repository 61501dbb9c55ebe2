/**
 * Who changed what through this host, and what came of it: kept beside the events, and apart from
 * them, so that no flood of events drives it out. The newest 5000 entries.
 */
import { escapeControls } from "../base/index.ts";
import type { EventRing } from "./event-ring.ts";
import type { AuditEntryView } from "./views.ts";

const TARGET_LENGTH_MAX = 200;

export type NewAuditEntry = Omit<AuditEntryView, "sequence" | "timeMs">;

export class AuditLog {
  readonly #ring: EventRing;

  /** `ring` is its own. */
  constructor(ring: EventRing) {
    this.#ring = ring;
  }

  add({ who, remote, operation, target, outcome }: NewAuditEntry): void {
    // Whoever is refused chooses it, too, and an administrator's terminal prints it.
    const shown = escapeControls(target.slice(0, TARGET_LENGTH_MAX)) || "-";
    this.#ring.add({
      level: outcome === "done" ? "info" : "warning",
      kind: "audit",
      message: `${who}: ${operation} ${shown}: ${outcome}`,
      details: { who, remote, operation, target: shown, outcome },
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
}
