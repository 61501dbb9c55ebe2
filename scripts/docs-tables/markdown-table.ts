/** Tables as the formatter would lay them out, so that the two never disagree about a document. */
export function markdownTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return layOut([header, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|"))));
}

/** The text with every table in it laid out. */
export function alignTables(markdown: string): string {
  const aligned: string[] = [];
  let table: string[] = [];
  const finishTable = (): void => {
    if (table.length > 0) aligned.push(alignTable(table));
    table = [];
  };
  for (const line of markdown.split("\n")) {
    if (line.startsWith("|")) table.push(line);
    else {
      finishTable();
      aligned.push(line);
    }
  }
  finishTable();
  return aligned.join("\n");
}

function alignTable(lines: readonly string[]): string {
  const cells = lines.map((line) =>
    line
      .trim()
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  // The second row is the rule below the header; it is drawn anew.
  return layOut(cells.filter((_, index) => index !== 1));
}

function layOut(cells: readonly (readonly string[])[]): string {
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(3, ...cells.map((row) => (row[column] ?? "").length)),
  );
  const line = (row: readonly string[]): string =>
    `| ${widths.map((width, column) => (row[column] ?? "").padEnd(width)).join(" | ")} |`;
  const [first, ...rest] = cells.map(line);
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [first, rule, ...rest].join("\n");
}
