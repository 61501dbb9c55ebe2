/** The result for people: tables, and the measured part of the page in docs/performance. */
import { markdownTable } from "../../scripts/docs-tables/markdown-table.ts";
import type { Figure } from "../benchmark.ts";
import { factLines } from "./facts.ts";
import type { Facts, Loads } from "./facts.ts";
import { OURS } from "./interleave.ts";

export interface Scene {
  readonly name: string;
  readonly title: string;
  readonly figures: readonly Figure[];
  /** Why there are no figures. */
  readonly failed?: string;
}

export interface PeersReport extends Facts {
  readonly rounds: number;
  readonly seconds: number;
  readonly folders: { readonly disk: string; readonly memory: string };
  readonly load: Loads;
  readonly scenes: readonly Scene[];
}

/** One workload beside one peer. */
export interface Comparison {
  readonly workload: string;
  readonly peer: string;
  readonly ratio: Figure;
}

const HEADER = [
  "workload",
  "peer",
  "IOPS, ours / theirs",
  "ratio, median (spread)",
  "CPU us per I/O, ours / theirs",
  "p99 us, ours / theirs",
  "memory MB, ours / theirs",
];

export function comparisonsOf({ figures }: Scene): readonly Comparison[] {
  return figures
    .filter(({ metric }) => metric === "ratio of IOPS")
    .map((ratio) => ({
      workload: ratio.workload,
      peer: ratio.target.slice(`${OURS} / `.length),
      ratio,
    }));
}

/** Everything in one text. */
export function peersTable(report: PeersReport): string {
  const { rounds, seconds, folders } = report;
  const facts = [
    ...factLines(report, report.load),
    `Medians of ${rounds} interleaved rounds of ${seconds} s. One host on ${folders.disk}, three hosts on ${folders.memory}.`,
  ];
  const scenes = report.scenes.flatMap((scene) => [`### ${scene.title}`, "", sceneText(scene), ""]);
  return [...facts, "", ...scenes, "### Where we lose", "", ...losses(report.scenes)].join("\n");
}

/** With its plots, for the page. */
export function peersSection(report: PeersReport): string {
  const drawn = report.scenes.filter(({ failed }) => failed === undefined);
  const plots = drawn.map(
    ({ name, title }) => `![${title}: ratio to each peer](peers-${name}.svg)`,
  );
  return [peersTable(report), "", plots.join("\n\n")].join("\n");
}

/** The page with the measured part of this name replaced. */
export function withMeasured(page: string, name: string, body: string): string {
  const begin = `<!-- measured: ${name} -->`;
  const end = "<!-- end measured -->";
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`the page has no measured part "${name}" to replace`);
  return `${page.slice(0, from)}${begin}\n\n${body}\n\n${page.slice(to)}`;
}

function sceneText(scene: Scene): string {
  if (scene.failed === undefined) return sceneTable(scene);
  return `This failed: ${scene.failed.split("\n")[0]}.`;
}

function sceneTable(scene: Scene): string {
  const rows = comparisonsOf(scene).map(({ workload, peer, ratio }) => {
    const pair = (metrics: readonly string[], digits: number): string => {
      const [ours, theirs] = [OURS, peer].map((target) =>
        scene.figures.find(
          (one) =>
            one.workload === workload && one.target === target && metrics.includes(one.metric),
        ),
      );
      if (ours === undefined || theirs === undefined) return "";
      return `${short(ours.median, digits)} / ${short(theirs.median, digits)}`;
    };
    return [
      ...[workload, peer, pair(["IOPS"], 3), spread(ratio)],
      pair(["server CPU us/IO", "CPU us/IO"], 2),
      pair(["p99 us"], 2),
      pair(["server RSS MB"], 2),
    ];
  });
  return markdownTable(HEADER, rows);
}

/** Rows in which a peer does more, worst first; every one of them. */
function losses(scenes: readonly Scene[]): readonly string[] {
  const all = scenes.flatMap((scene) =>
    comparisonsOf(scene).map((one) => ({ ...one, where: scene.name })),
  );
  const lost = all
    .filter(({ ratio }) => ratio.median < 1)
    .toSorted((a, b) => a.ratio.median - b.ratio.median);
  const ahead = `Ahead in ${all.length - lost.length} of ${all.length} rows.`;
  const lines = lost.map(
    ({ where, workload, peer, ratio }) =>
      `- ${where}, ${workload}: ${spread(ratio)} of ${peer}'s rate`,
  );
  return lines.length === 0
    ? [ahead]
    : [`${ahead} Behind in these, the worst first:`, "", ...lines];
}

function spread({ median, min, max }: Figure): string {
  const fixed = (ratio: number): string => ratio.toFixed(ratio < 10 ? 2 : 0);
  return `${fixed(median)} (${fixed(min)} - ${fixed(max)})`;
}

function short(value: number, digits: number): string {
  const rounded = Number(value.toPrecision(digits));
  return rounded.toLocaleString("en-US", { maximumFractionDigits: 2 });
}
