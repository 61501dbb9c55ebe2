/** The rows of the operation table that are about keys of encrypted volumes. */
import * as shapes from "./key-views.ts";
import type { OperationTable } from "../api/operations.ts";
import { doneShape, nothingShape } from "../api/view-shapes.ts";

type KeyOperation = "key.show" | "key.rotate" | "key-domain.list" | "key-domain.destroy";

const KEY_ERRORS = ["cluster-key-missing", "cluster-key-invalid", "cluster-key-wrong"] as const;

export const keyOperations: Pick<OperationTable, KeyOperation> = {
  "key.show": {
    name: "key.show",
    words: ["key", "show"],
    summary: "Show which cluster key encrypted volumes need, and which hosts have it",
    examples: [{ line: "drystone key show", why: "which hosts can serve encrypted volumes?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/cluster-key",
    scope: "cluster",
    role: "viewer",
    request: nothingShape,
    response: shapes.clusterKeyShape,
    errors: [],
  },
  "key.rotate": {
    name: "key.rotate",
    words: ["key", "rotate"],
    summary: "Change the cluster key; hosts that are away take the next one when they start",
    examples: [
      { line: "drystone key rotate", why: "the old one goes when all hosts have the next one" },
      {
        line: "drystone key rotate --finish",
        why: "hosts that do not have it need a copy of the key file then",
      },
    ],
    positionals: [],
    options: [
      {
        name: "finish",
        field: "finish",
        kind: "flag",
        summary: "Do not wait for hosts that do not have the next key",
      },
    ],
    method: "POST",
    path: "/v1/cluster-key/rotate",
    scope: "cluster",
    role: "admin",
    request: shapes.keyRotateShape,
    response: shapes.clusterKeyShape,
    errors: ["cluster-key-unused", ...KEY_ERRORS],
  },
  "key-domain.list": {
    name: "key-domain.list",
    words: ["key-domain", "list"],
    summary: "List the keys that volumes are encrypted with, and their volumes",
    examples: [{ line: "drystone key-domain list", why: "what shares a key, and so content?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/key-domains",
    scope: "cluster",
    role: "viewer",
    request: nothingShape,
    response: shapes.keyDomainListShape,
    errors: [],
  },
  "key-domain.destroy": {
    name: "key-domain.destroy",
    words: ["key-domain", "destroy"],
    summary: "Destroy a key, so that nothing that was encrypted with it can be read again",
    examples: [
      { line: "drystone key-domain destroy tenant1", why: "its volumes were deleted before" },
    ],
    positionals: ["name"],
    options: [],
    method: "DELETE",
    path: "/v1/key-domains/:name",
    scope: "cluster",
    role: "admin",
    request: shapes.keyDomainRequestShape,
    response: doneShape,
    errors: ["key-domain-unknown", "key-domain-in-use"],
    danger: "This destroys the key of domain NAME for ever",
  },
};
