/** The shapes of what is asked and answered about health. */
import type { ObjectShape } from "../api/shape.ts";
import { choice, count, list, may, must, text } from "../api/shape-words.ts";
import type * as views from "../api/views.ts";

const healthFindingShape: ObjectShape<views.HealthFindingView> = {
  kind: "object",
  description: "Something that a check has found",
  fields: {
    subject: must(text("What it is about; self is the host that answers")),
    message: must(text("What is wrong")),
    action: must(text("What to do")),
    sinceMs: may(count("Since when, in milliseconds since 1970")),
  },
};

const healthCheckShape: ObjectShape<views.HealthCheckView> = {
  kind: "object",
  description: "A check of health",
  fields: {
    id: must(text("Its name")),
    severity: must(
      choice("What it makes of the health word; a note leaves it", ["failed", "degraded", "note"]),
    ),
    meaning: must(text("What it means when it finds something")),
    action: must(text("What to do then")),
    findings: must(list("What it finds now; nothing is what you want", healthFindingShape)),
  },
};

export const healthListShape: ObjectShape<views.HealthListView> = {
  kind: "object",
  description: "All checks of health",
  fields: {
    health: must(choice("One word", ["healthy", "degraded", "failed"])),
    checks: must(list("The checks", healthCheckShape)),
  },
};

export const healthShowRequestShape: ObjectShape<views.HealthShowRequest> = {
  kind: "object",
  description: "Which check",
  fields: { check: must(text("Its name")) },
};

const healthChangeShape: ObjectShape<views.HealthChangeView> = {
  kind: "object",
  description: "When a check began or ceased to find something",
  fields: {
    timeMs: must(count("Milliseconds since 1970")),
    change: must(choice("Which", ["raised", "cleared"])),
    subject: must(text("What it is about")),
    message: must(text("What happened")),
  },
};

export const healthShowShape: ObjectShape<views.HealthShowView> = {
  kind: "object",
  description: "A check, and its history on the host that answers",
  fields: {
    check: must(healthCheckShape),
    history: must(list("What happened, oldest first", healthChangeShape)),
  },
};
