/** The rows of the operation table that are about tokens of the API and the audit log. */
import * as shapes from "./access-shapes.ts";
import type { OperationTable } from "./operations.ts";
import { doneShape, nothingShape } from "./view-shapes.ts";

type AccessOperation = "access.create" | "access.list" | "access.revoke" | "audit.list";

export const accessOperations: Pick<OperationTable, AccessOperation> = {
  "access.create": {
    name: "access.create",
    words: ["access", "create"],
    summary: "Make a token for the API; it is shown once",
    examples: [
      { line: "drystone access create anna --role admin", why: "good for 90 days" },
      {
        line: "drystone access create prometheus --role viewer --scope metrics --days 365",
        why: "reads /metrics and nothing else",
      },
    ],
    positionals: ["name"],
    options: [
      {
        name: "role",
        field: "role",
        kind: "text",
        argument: "ROLE",
        summary: "viewer, operator or admin",
      },
      {
        name: "days",
        field: "days",
        kind: "count",
        argument: "N",
        summary: "Days until it expires (90)",
      },
      {
        name: "scope",
        field: "scopes",
        kind: "text",
        argument: "GROUP",
        summary: "Only these groups of commands, such as volume; may be repeated",
        isList: true,
      },
    ],
    method: "POST",
    path: "/v1/access",
    scope: "cluster",
    role: "admin",
    request: shapes.accessCreateShape,
    response: shapes.accessCreatedShape,
    errors: ["too-many-tokens"],
  },
  "access.list": {
    name: "access.list",
    words: ["access", "list"],
    summary: "List the tokens for the API, without their secrets",
    examples: [{ line: "drystone access list", why: "who may do what, and until when?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/access",
    scope: "cluster",
    role: "admin",
    request: nothingShape,
    response: shapes.accessListShape,
    errors: [],
  },
  "access.revoke": {
    name: "access.revoke",
    words: ["access", "revoke"],
    summary: "Take a token for the API back",
    examples: [
      { line: "drystone access revoke 0123456789abcdef", why: "within 5 seconds everywhere" },
    ],
    positionals: ["id"],
    options: [],
    method: "DELETE",
    path: "/v1/access/:id",
    scope: "cluster",
    role: "admin",
    request: shapes.accessRevokeShape,
    response: doneShape,
    errors: ["access-unknown"],
  },
  "audit.list": {
    name: "audit.list",
    words: ["audit", "list"],
    summary: "Show who changed what through the host that answers, refused attempts too",
    examples: [
      { line: "drystone audit list", why: "the newest 100 entries" },
      { line: "drystone audit list --all-hosts", why: "whichever host was asked to" },
    ],
    positionals: [],
    options: [
      {
        name: "after",
        field: "after",
        kind: "count",
        argument: "SEQUENCE",
        summary: "Only newer ones",
      },
      {
        name: "limit",
        field: "limit",
        kind: "count",
        argument: "N",
        summary: "At most so many (100)",
      },
      {
        name: "all-hosts",
        field: "allHosts",
        kind: "flag",
        summary: "Of every host that answers, by time",
      },
    ],
    method: "GET",
    path: "/v1/audit",
    scope: "host",
    role: "admin",
    request: shapes.auditRequestShape,
    response: shapes.auditListShape,
    errors: [],
  },
};
