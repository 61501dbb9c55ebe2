/** The rows of the operation table that are about health. */
import * as shapes from "./health-shapes.ts";
import type { OperationTable } from "../api/operations.ts";
import { nothingShape } from "../api/view-shapes.ts";

export const healthOperations: Pick<OperationTable, "health.list" | "health.show"> = {
  "health.list": {
    name: "health.list",
    words: ["health", "list"],
    summary: "List every check of health, what each has found and since when",
    examples: [{ line: "drystone health list", why: "what is looked at, and what is wrong?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/health",
    scope: "cluster",
    role: "viewer",
    request: nothingShape,
    response: shapes.healthListShape,
    errors: [],
  },
  "health.show": {
    name: "health.show",
    words: ["health", "show"],
    summary: "Show a check of health: what it means, what to do, and its history",
    examples: [{ line: "drystone health show host-down", why: "when was a host down?" }],
    positionals: ["check"],
    options: [],
    method: "GET",
    path: "/v1/health/:check",
    scope: "cluster",
    role: "viewer",
    request: shapes.healthShowRequestShape,
    response: shapes.healthShowShape,
    errors: ["check-unknown"],
  },
};
