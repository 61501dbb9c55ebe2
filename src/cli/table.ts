/**
 * Tables of text that fit a terminal: columns are as wide as they need, and the widest give way
 * first.
 */

export interface Column {
  readonly title: string;
  readonly align?: "right";
}

const GAP = 2;
const WIDTH_MIN = 4;

/**
 * `widthMax` is the terminal's, or Infinity where the output is no terminal: then nothing is cut.
 */
export function layoutTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  widthMax: number,
): string[] {
  const natural = columns.map((column, index) =>
    Math.max(column.title.length, ...rows.map((row) => (row[index] ?? "").length)),
  );
  const widths = fitWidths(natural, widthMax - GAP * (columns.length - 1));
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, index) => pad(cut(cells[index] ?? "", widths[index]!), widths[index]!, column))
      .join(" ".repeat(GAP))
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...rows.map(line)];
}

/** Takes from the widest column until all fit, or none can give more. */
export function fitWidths(natural: readonly number[], widthMax: number): number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, width) => sum + width, 0) - widthMax;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest]! <= WIDTH_MIN) break;
    widths[widest] = widths[widest]! - 1;
    excess--;
  }
  return widths;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

function pad(text: string, width: number, column: Column): string {
  return column.align === "right" ? text.padStart(width) : text.padEnd(width);
}
