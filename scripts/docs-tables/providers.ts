/**
 * What documents can have generated into them, by name. A new table is a function in a file of its
 * own and a row here.
 */
import { commandsTable, configTable, errorsTable, requestsTable } from "../../src/host/index.ts";
import { debianPackagesTable } from "./debian-packages-table.ts";
import { floorsTable } from "./floors-table.ts";
import type { Providers } from "./generated-sections.ts";
import { layoutTables } from "./layout-tables.ts";

export const providers: Providers = new Map<string, () => string>([
  ["commands", commandsTable],
  ["debian-packages", debianPackagesTable],
  ["errors", errorsTable],
  ["floors", floorsTable],
  ...layoutTables,
  ["host-config", configTable],
  ["requests", requestsTable],
]);
