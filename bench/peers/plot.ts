/** Ratios of our rate to each peer's: a point for the median, a line for the spread. */
import { comparisonsOf } from "./page.ts";
import type { Comparison, Scene } from "./page.ts";

const COLOURS = ["#1a6b54", "#a3482a", "#3a5a9b"] as const;
const LEFT = 190;
const WIDTH = 480;
const TOP = 50;
const ROW = 18;
const TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20] as const;
const LOW = TICKS[0];
const HIGH = TICKS[TICKS.length - 1]!;
const TEXT = 'font-family="sans-serif" font-size="12" fill="#666"';

/** Logarithmic: twice as fast is as far from equal as half as fast. */
function x(ratio: number): number {
  const inside = Math.min(HIGH, Math.max(LOW, ratio));
  return LEFT + (Math.log(inside / LOW) / Math.log(HIGH / LOW)) * WIDTH;
}

export function peersSvg(scene: Scene): string {
  const comparisons = comparisonsOf(scene);
  const peers = [...new Set(comparisons.map(({ peer }) => peer))];
  const colour = (peer: string): string => COLOURS[peers.indexOf(peer) % COLOURS.length]!;
  const bottom = TOP + comparisons.length * ROW;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 ${bottom + 50}" role="img">`,
    `<title>${scene.title}: our rate over each peer's</title>`,
    ...TICKS.map((tick) => tickMark(tick, bottom)),
    ...comparisons.flatMap((one, row) => point(one, row, comparisons, colour(one.peer))),
    ...peers.map(
      (peer, i) =>
        `<text x="${LEFT + i * 190}" y="20" ${TEXT.replace("#666", colour(peer))}>over ${peer}</text>`,
    ),
    label(LEFT + WIDTH / 2, bottom + 38, "our rate / theirs; right of 1 we are ahead", "middle"),
    "</svg>",
    "",
  ].join("\n");
}

function label(at: number, y: number, text: string, anchor: string): string {
  return `<text x="${at.toFixed(1)}" y="${y}" text-anchor="${anchor}" ${TEXT}>${text}</text>`;
}

function tickMark(tick: number, bottom: number): string {
  const stroke = tick === 1 ? "#444" : "#ddd";
  const at = x(tick).toFixed(1);
  const line = `<path d="M ${at} ${TOP - 14} V ${bottom}" stroke="${stroke}"/>`;
  return line + label(x(tick), bottom + 18, String(tick), "middle");
}

function point(
  { workload, ratio }: Comparison,
  row: number,
  all: readonly Comparison[],
  colour: string,
): readonly string[] {
  const y = TOP + row * ROW;
  const isFirst = all[row - 1]?.workload !== workload;
  const [low, middle, high] = [ratio.min, ratio.median, ratio.max].map((one) => x(one).toFixed(1));
  return [
    ...(isFirst ? [label(LEFT - 12, y + 4, workload, "end")] : []),
    `<path d="M ${low} ${y} H ${high}" stroke="${colour}" stroke-width="2"/>`,
    `<circle cx="${middle}" cy="${y}" r="4" fill="${colour}"/>`,
  ];
}
