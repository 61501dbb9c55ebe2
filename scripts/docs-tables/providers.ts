/**
 * What documents can have generated into them, by name. A new table is a function in a file of its
 * own and a row here.
 */
import { debianPackagesTable } from "./debian-packages-table.ts";
import { floorsTable } from "./floors-table.ts";
import type { Providers } from "./generated-sections.ts";
import { layoutTables } from "./layout-tables.ts";

export const providers: Providers = new Map<string, () => string>([
  ["debian-packages", debianPackagesTable],
  ["floors", floorsTable],
  ...layoutTables,
]);
