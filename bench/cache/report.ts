/** The simulator's results as a table, as CSV, as JSON and as a plot of miss-ratio curves. */
export interface ResultRow {
  readonly trace: string;
  /** Share of the trace's distinct keys that fit. */
  readonly size: number;
  readonly entries: number;
  readonly policy: string;
  readonly missRatio: number;
}

/** One array, one row a line. */
export function toJson(rows: readonly ResultRow[]): string {
  return `[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}\n]`;
}

export function toCsv(rows: readonly ResultRow[]): string {
  const lines = rows.map(({ trace, size, entries, policy, missRatio }) =>
    [quoted(trace), size, entries, policy, missRatio].join(","),
  );
  return ["trace,size,entries,policy,missRatio", ...lines, ""].join("\n");
}

function quoted(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Cells as lines, policies as columns; below, each policy's geometric mean relative to the first.
 */
export function toTable(rows: readonly ResultRow[]): string {
  const policies = [...new Set(rows.map((row) => row.policy))];
  const lines = [["trace", "size", "entries", ...policies]];
  for (const cell of cellsOf(rows)) {
    const ratios = cell.map((row) => row.missRatio.toFixed(4));
    const { trace, size, entries } = cell[0]!;
    lines.push([trace, String(size), String(entries), ...ratios]);
  }
  const means = policies.map((policy) => geometricMean(rows, policy, policies[0]!).toFixed(4));
  lines.push([`mean / ${policies[0]!}`, "", "", ...means]);
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const pad = (text: string, i: number): string =>
    i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!);
  return lines.map((line) => line.map(pad).join("  ").trimEnd()).join("\n");
}

function cellsOf(rows: readonly ResultRow[]): ResultRow[][] {
  const cells = new Map<string, ResultRow[]>();
  for (const row of rows) {
    const key = `${row.trace}\n${row.size}`;
    cells.set(key, [...(cells.get(key) ?? []), row]);
  }
  return [...cells.values()];
}

/** Of the miss ratios relative to those of another policy; cells without misses are left out. */
function geometricMean(rows: readonly ResultRow[], policy: string, relativeTo: string): number {
  let sum = 0;
  let count = 0;
  for (const cell of cellsOf(rows)) {
    const own = cell.find((row) => row.policy === policy)?.missRatio ?? 0;
    const other = cell.find((row) => row.policy === relativeTo)?.missRatio ?? 0;
    if (own === 0 || other === 0) continue;
    sum += Math.log(own / other);
    count++;
  }
  return Math.exp(sum / Math.max(1, count));
}

const PLOT_WIDTH = 460;
const PLOT_HEIGHT = 300;
const MARGIN = 50;
const LEGEND_WIDTH = 120;

/**
 * One plot for each trace, below one another: miss ratio over size, both linear in what they show.
 */
export function toSvg(rows: readonly ResultRow[]): string {
  const traces = [...new Set(rows.map((row) => row.trace))];
  const policies = [...new Set(rows.map((row) => row.policy))];
  const plots = traces.map((trace, i) => {
    const own = rows.filter((row) => row.trace === trace);
    return `<g transform="translate(0 ${i * PLOT_HEIGHT})">${plot(trace, own, policies)}</g>`;
  });
  const width = PLOT_WIDTH + LEGEND_WIDTH;
  const height = PLOT_HEIGHT * traces.length;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `font-family="sans-serif" font-size="11">\n${plots.join("\n")}\n</svg>\n`
  );
}

function plot(trace: string, rows: readonly ResultRow[], policies: readonly string[]): string {
  const sizes = [...new Set(rows.map((row) => row.size))].toSorted((a, b) => a - b);
  const high = Math.max(...rows.map((row) => row.missRatio));
  const stepX = (PLOT_WIDTH - 2 * MARGIN) / Math.max(1, sizes.length - 1);
  const x = (size: number): string => (MARGIN + sizes.indexOf(size) * stepX).toFixed(1);
  const y = (ratio: number): string =>
    (PLOT_HEIGHT - MARGIN - (ratio / (high || 1)) * (PLOT_HEIGHT - 2 * MARGIN)).toFixed(1);
  const parts = [`<text x="${MARGIN}" y="20" font-weight="bold">${escaped(trace)}</text>`];
  for (const size of sizes) {
    const at = PLOT_HEIGHT - MARGIN + 16;
    parts.push(`<text x="${x(size)}" y="${at}" text-anchor="middle">${size}</text>`);
  }
  for (const ratio of [0, high / 2, high]) {
    const line = `<path d="M${MARGIN} ${y(ratio)}H${PLOT_WIDTH - MARGIN}" stroke="#ddd"/>`;
    parts.push(`${line}<text x="8" y="${y(ratio)}">${ratio.toFixed(3)}</text>`);
  }
  policies.forEach((policy, i) => {
    const own = rows.filter((row) => row.policy === policy);
    const points = own.toSorted((a, b) => a.size - b.size);
    const path = points.map((row) => `${x(row.size)},${y(row.missRatio)}`).join(" ");
    const color = `hsl(${Math.round((360 * i) / policies.length)} 70% 42%)`;
    parts.push(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="1.5"/>`);
    const at = 40 + i * 15;
    parts.push(`<text x="${PLOT_WIDTH}" y="${at}" fill="${color}">${escaped(policy)}</text>`);
  });
  return parts.join("");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
