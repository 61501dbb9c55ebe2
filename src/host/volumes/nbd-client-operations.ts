/** The rows of the operation table that are about clients which use volumes over NBD under TLS. */
import * as shapes from "./nbd-client-views.ts";
import type { OperationTable } from "../api/operations.ts";
import { doneShape, nothingShape } from "../api/view-shapes.ts";

type ClientOperation = "client.create" | "client.list" | "client.delete";

export const clientOperations: Pick<OperationTable, ClientOperation> = {
  "client.create": {
    name: "client.create",
    words: ["client", "create"],
    summary: "Let a client use volumes over NBD under TLS; its secrets are shown once",
    examples: [
      { line: "drystone client create web --volume web1", why: "with a certificate, for a year" },
      {
        line: "drystone client create backup --volume '*' --proof key --days 30",
        why: "with a shared key, for each volume",
      },
    ],
    positionals: ["name"],
    options: [
      {
        name: "volume",
        field: "volumes",
        kind: "text",
        argument: "VOLUME",
        summary: "A volume that it may use, * for all; may be repeated",
        isList: true,
      },
      {
        name: "proof",
        field: "proof",
        kind: "text",
        argument: "PROOF",
        summary: "certificate (default) or key",
      },
      {
        name: "days",
        field: "days",
        kind: "count",
        argument: "N",
        summary: "Days until it is refused (365)",
      },
    ],
    method: "POST",
    path: "/v1/clients",
    scope: "cluster",
    role: "admin",
    request: shapes.clientCreateShape,
    response: shapes.clientCreatedShape,
    errors: ["client-exists", "too-many-clients", "not-supported"],
  },
  "client.list": {
    name: "client.list",
    words: ["client", "list"],
    summary: "List the clients that may use volumes over NBD under TLS",
    examples: [{ line: "drystone client list", why: "who may use what, and until when?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/clients",
    scope: "cluster",
    role: "viewer",
    request: nothingShape,
    response: shapes.clientListShape,
    errors: [],
  },
  "client.delete": {
    name: "client.delete",
    words: ["client", "delete"],
    summary: "Refuse a client from now on, and cut off its connections",
    examples: [{ line: "drystone client delete backup", why: "on all hosts, at once" }],
    positionals: ["name"],
    options: [],
    method: "DELETE",
    path: "/v1/clients/:name",
    scope: "cluster",
    role: "admin",
    request: shapes.clientDeleteShape,
    response: doneShape,
    errors: ["client-unknown"],
  },
};
