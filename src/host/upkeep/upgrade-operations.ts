/** The rows of the operation table that are about upgrades. */
import type { OperationTable } from "../api/operations.ts";
import { upgradeShape } from "./upgrade-views.ts";
import { nothingShape } from "../api/view-shapes.ts";

export const upgradeOperations: Pick<OperationTable, "upgrade.show" | "upgrade.finalize"> = {
  "upgrade.show": {
    name: "upgrade.show",
    words: ["upgrade", "show"],
    summary: "Show which version of Drystone each host runs, and which formats the cluster uses",
    examples: [{ line: "drystone upgrade show", why: "may it be finalized?" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/upgrade",
    scope: "cluster",
    role: "viewer",
    request: nothingShape,
    response: upgradeShape,
    errors: [],
  },
  "upgrade.finalize": {
    name: "upgrade.finalize",
    words: ["upgrade", "finalize"],
    summary: "End an upgrade: use what is new, now that all hosts know it",
    examples: [{ line: "drystone upgrade finalize", why: "all hosts run the new version" }],
    positionals: [],
    options: [],
    method: "POST",
    path: "/v1/upgrade/finalize",
    scope: "cluster",
    role: "admin",
    request: nothingShape,
    response: upgradeShape,
    errors: ["hosts-outdated"],
    danger: "There is no way back: hosts with the version before do not start any more",
  },
};
