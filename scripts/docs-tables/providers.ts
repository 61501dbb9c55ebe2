/**
 * What documents can have generated into them, by name. A new table is a function in a file of its
 * own and a row here.
 */
import {
  checksTable,
  commandsTable,
  configTable,
  errorsTable,
  requestsTable,
} from "../../src/host/index.ts";
import type { DocsTable } from "../../src/host/index.ts";
import { metricsTable } from "../../src/host/api/metrics-table.ts";
import { alertRules } from "./alert-rules.ts";
import { clientExample } from "./client-example.ts";
import { debianPackagesTable } from "./debian-packages-table.ts";
import { decisionsTable } from "./decisions-table.ts";
import { floorsTable } from "./floors-table.ts";
import type { Providers } from "./generated-sections.ts";
import { grafanaDashboard } from "./grafana-dashboard.ts";
import { layoutTables } from "./layout-tables.ts";
import { markdownTable } from "./markdown-table.ts";

export const providers: Providers = new Map<string, () => string>([
  ["checks", () => rendered(checksTable())],
  ["client-example", clientExample],
  ["commands", () => rendered(commandsTable())],
  ["debian-packages", debianPackagesTable],
  ["errors", () => rendered(errorsTable())],
  ["decisions", decisionsTable],
  ["floors", floorsTable],
  ...layoutTables,
  ["host-config", () => rendered(configTable())],
  ["metrics", () => rendered(metricsTable())],
  ["requests", () => rendered(requestsTable())],
]);

/** Files that are generated whole. */
export const generatedFiles: ReadonlyMap<string, () => string> = new Map([
  ["packages/monitoring/drystone-alerts.yml", alertRules],
  ["packages/monitoring/drystone-grafana.json", grafanaDashboard],
]);

function rendered({ header, rows }: DocsTable): string {
  return markdownTable(header, rows);
}
