/** The row of the operation table that is about failures that have not happened. */
import type { OperationTable } from "../api/operations.ts";
import { whatIfRequestShape, whatIfShape } from "./what-if-shapes.ts";

export const whatIfOperations: Pick<OperationTable, "whatif.fail"> = {
  "whatif.fail": {
    name: "whatif.fail",
    words: ["whatif", "fail"],
    summary: "Say what would happen if a host failed now; nothing is changed",
    examples: [
      { line: "drystone whatif fail h2", why: "which machines restart where, what is at risk?" },
      { line: "drystone whatif fail h2 --json", why: "for a script" },
    ],
    positionals: ["name"],
    options: [],
    method: "GET",
    path: "/v1/whatif/fail/:name",
    scope: "cluster",
    role: "viewer",
    request: whatIfRequestShape,
    response: whatIfShape,
    errors: ["host-unknown"],
  },
};
