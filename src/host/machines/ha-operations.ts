/** The rows of the operation table that are about high availability. */
import type { OperationTable } from "../api/operations.ts";
import * as shapes from "../api/view-shapes.ts";
import { haSetShape, haShape } from "./vm-shapes.ts";

type HaOperation = "ha.show" | "ha.set" | "ha.arm" | "ha.disarm";

export const haOperations: Pick<OperationTable, HaOperation> = {
  "ha.show": {
    name: "ha.show",
    words: ["ha", "show"],
    summary: "Who looks after virtual machines, and whether hosts may fail",
    examples: [{ line: "drystone ha show", why: "is there room if a host fails?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/ha",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: haShape,
    errors: [],
  },
  "ha.set": {
    name: "ha.set",
    words: ["ha", "set"],
    summary:
      "Decide how many hosts may fail, and what becomes of starts that leave too little room",
    examples: [
      { line: "drystone ha set --tolerate 1 --admission refuse", why: "room is kept for it" },
    ],
    positionals: [],
    needsAnOption: true,
    options: [
      {
        name: "tolerate",
        field: "toleratedHosts",
        kind: "count",
        argument: "N",
        summary: "Hosts that may fail at once with room left for all protected machines (1)",
      },
      {
        name: "admission",
        field: "admission",
        kind: "text",
        argument: "WHAT",
        summary: "refuse such a start, warn (default), or off",
      },
    ],
    method: "POST",
    path: "/v1/ha/set",
    scope: "cluster",
    role: "admin",
    request: haSetShape,
    response: haShape,
    errors: ["ha-contended"],
  },
  "ha.arm": {
    name: "ha.arm",
    words: ["ha", "arm"],
    summary: "Start machines of failed hosts elsewhere again",
    examples: [{ line: "drystone ha arm", why: "the work on the network is done" }],
    positionals: [],
    options: [],
    method: "POST",
    path: "/v1/ha/arm",
    scope: "cluster",
    role: "admin",
    request: shapes.nothingShape,
    response: haShape,
    errors: ["ha-contended", "ha-hosts-unheard"],
  },
  "ha.disarm": {
    name: "ha.disarm",
    words: ["ha", "disarm"],
    summary: "Leave machines where they are, whatever becomes of hosts and networks",
    examples: [{ line: "drystone ha disarm", why: "before work on the network" }],
    positionals: [],
    options: [],
    method: "POST",
    path: "/v1/ha/disarm",
    scope: "cluster",
    role: "admin",
    request: shapes.nothingShape,
    response: haShape,
    errors: ["ha-contended"],
  },
};
