/** The shapes of what is asked and answered about tokens of the API and the audit log. */
import { ACCESS_ROLES, SCOPES_MAX } from "../../cluster/index.ts";
import type { ObjectShape } from "./shape.ts";
import { choice, count, flag, list, may, must, text } from "./shape-words.ts";
import type * as views from "./views.ts";

/** What operations' names begin with, and what stands beside the operations. */
export const ACCESS_SCOPES: readonly string[] = [
  ...["access", "audit", "device", "events", "health", "host", "metrics", "network"],
  ...["ha", "openapi", "resync", "settings", "snapshot", "stats", "status", "token", "vm"],
  "volume",
  "certificate",
  "upgrade",
  "client",
  "whatif",
  "key",
  "key-domain",
];

const DAYS_MAX = 3650;

const role = choice("What its holder may do; each role may do what those before it may", [
  ...ACCESS_ROLES,
]);

function nameInvalid(name: string): string | undefined {
  if (/^[\p{L}\p{N}][\p{L}\p{N} ._@-]{0,62}$/u.test(name)) return undefined;
  return "is no name: use 1 to 63 letters, digits, spaces and . _ @ -";
}

function scopeInvalid(scope: string): string | undefined {
  if (ACCESS_SCOPES.some((one) => one === scope)) return undefined;
  return `is no scope: there are ${ACCESS_SCOPES.join(", ")}`;
}

const scopes = {
  kind: "list",
  countMax: SCOPES_MAX,
  description: "Groups of operations, such as volume, vm or metrics; without any, all",
  of: {
    kind: "text",
    lengthMax: 64,
    description: "A group",
    example: "metrics",
    invalid: scopeInvalid,
  },
} as const;

export const accessCreateShape: ObjectShape<views.AccessCreateRequest> = {
  kind: "object",
  description: "The new token",
  fields: {
    name: must({
      kind: "text",
      lengthMax: 63,
      description: "Whose it is or what it is for",
      example: "grafana",
      invalid: nameInvalid,
    }),
    role: must(role),
    days: may({
      kind: "integer",
      min: 1,
      max: DAYS_MAX,
      description: "Days until it expires (90)",
      example: 90,
    }),
    scopes: may(scopes),
  },
};

const common = {
  id: must(text("Its id, with which it is taken back")),
  name: must(text("Whose it is or what it is for")),
  role: must(role),
  scopes: must(scopes),
  createdMs: must(count("When it was made, in milliseconds since 1970")),
  expiresMs: must(count("When it expires, in milliseconds since 1970")),
} as const;

export const accessCreatedShape: ObjectShape<views.AccessCreatedView> = {
  kind: "object",
  description: "The token, which is shown this once",
  fields: { ...common, token: must(text("To be shown as: Authorization: Bearer TOKEN")) },
};

const accessShape: ObjectShape<views.AccessView> = {
  kind: "object",
  description: "A token without its secret",
  fields: common,
};

export const accessListShape: ObjectShape<views.AccessList> = {
  kind: "object",
  description: "All tokens of the API",
  fields: { tokens: must(list("The tokens", accessShape)) },
};

export const accessRevokeShape: ObjectShape<views.AccessRevokeRequest> = {
  kind: "object",
  description: "Which token",
  fields: { id: must(text("Its id")) },
};

export const auditRequestShape: ObjectShape<views.AuditRequest> = {
  kind: "object",
  description: "Which entries",
  fields: {
    after: may(count("Only entries with a higher sequence")),
    limit: may({
      kind: "integer",
      min: 1,
      max: 1000,
      description: "At most so many, the newest (100)",
    }),
    allHosts: may(flag("Of every host that answers, oldest first; with `host` in each")),
  },
};

const auditEntryShape: ObjectShape<views.AuditEntryView> = {
  kind: "object",
  description: "A change that was asked for",
  fields: {
    sequence: must(count("Grows by one per entry")),
    timeMs: must(count("Milliseconds since 1970")),
    who: must(text("Who asked")),
    remote: must(text("From where")),
    operation: must(text("What was asked for")),
    target: must(text("Of what")),
    outcome: must(text("done, dry-run, the code of the refusal, or how many more were not done")),
    host: may(text("Whose entry it is, where all hosts were asked")),
  },
};

export const auditListShape: ObjectShape<views.AuditList> = {
  kind: "object",
  description: "Entries of the audit log, oldest first",
  fields: {
    entries: must(list("The entries", auditEntryShape)),
    silentHosts: may(list("Hosts that did not answer, where all were asked", text("A host"))),
  },
};
