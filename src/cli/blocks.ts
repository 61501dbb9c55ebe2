/** Blocks of text that answers are made of. */
import type { Output } from "./output.ts";
import { layoutTable } from "./table.ts";
import type { Column } from "./table.ts";

/** `title>` means a column that is aligned to the right. */
export function table(
  output: Output,
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const columns = titles.map((title): Column =>
    title.endsWith(">") ? { title: title.slice(0, -1), align: "right" } : { title },
  );
  const [head = "", ...lines] = layoutTable(columns, rows, output.widthMax);
  return [output.style("bold", head), ...lines];
}

export function facts(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
}
