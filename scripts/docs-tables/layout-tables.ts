/**
 * One table per byte layout that src/format exports, named "layout:NAME". None can be forgotten.
 */
import * as format from "../../src/format/index.ts";
import type { Field, Layout } from "../../src/format/index.ts";
import { markdownTable } from "./markdown-table.ts";

function isLayout(value: unknown): value is Layout<string> {
  return typeof value === "object" && value !== null && "fields" in value && "at" in value;
}

function layoutTable(of: Layout<string>): string {
  const rows = Object.entries<Field>(of.fields).map(([name, field]) => [
    String(of.at[name]),
    String(field.sizeBytes),
    `\`${name}\``,
    field.kind,
    field.meaning,
  ]);
  return `${of.title}: ${of.sizeBytes} bytes.\n\n${markdownTable(
    ["offset", "bytes", "field", "kind", "meaning"],
    rows,
  )}`;
}

export const layoutTables: readonly (readonly [string, () => string])[] = Object.values<unknown>(
  format,
)
  .filter(isLayout)
  .map((layout) => [`layout:${layout.name}`, () => layoutTable(layout)] as const);
