/**
 * Draws bytes sent and seconds of rebuilds against the share of contents that are there already.
 */
import type { Figure } from "./benchmark.ts";

const PANELS = [
  { metric: "MiB sent", left: 60 },
  { metric: "seconds", left: 390 },
] as const;
const LINES = [
  { target: "fingerprints first", colour: "#1a6b54", dash: "" },
  { target: "plain copy", colour: "#a3482a", dash: "6 4" },
] as const;
const WIDTH = 250;
const HEIGHT = 180;
const TOP = 40;
const TEXT = 'font-family="sans-serif" font-size="12" fill="#666"';

function label(x: number, y: number, text: string, anchor = "middle"): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" ${TEXT}>${text}</text>`;
}

function shareOf({ workload }: Figure): number {
  return Number.parseFloat(workload);
}

function panel(figures: readonly Figure[], metric: string, left: number): string[] {
  const mine = figures.filter((one) => one.metric === metric);
  const top = 1.1 * Math.max(...mine.map(({ median }) => median));
  const x = (share: number): number => left + (share / 100) * WIDTH;
  const y = (value: number): number => TOP + HEIGHT - (value / top) * HEIGHT;
  const axes = `M ${left} ${TOP} V ${TOP + HEIGHT} H ${left + WIDTH}`;
  return [
    label(left + WIDTH / 2, TOP - 16, metric),
    `<path d="${axes}" fill="none" stroke="#999"/>`,
    ...[0, 25, 50, 75, 95].map((share) => label(x(share), TOP + HEIGHT + 18, `${share} %`)),
    ...[0, top / 2, top].map((value) => label(left - 6, y(value) + 4, value.toPrecision(2), "end")),
    ...LINES.flatMap(({ target, colour, dash }) => {
      const points = mine
        .filter((one) => one.target === target)
        .toSorted((a, b) => shareOf(a) - shareOf(b))
        .map((one) => `${x(shareOf(one)).toFixed(1)},${y(one.median).toFixed(1)}`);
      const style = `fill="none" stroke="${colour}" stroke-width="2" stroke-dasharray="${dash}"`;
      return [`<polyline points="${points.join(" ")}" ${style}/>`];
    }),
  ];
}

export function rebuildSvg(figures: readonly Figure[]): string {
  const legend = LINES.flatMap(({ target, colour, dash }, i) => [
    `<path d="M ${60 + i * 190} 265 h 30" stroke="${colour}" stroke-width="2" stroke-dasharray="${dash}"/>`,
    label(96 + i * 190, 269, target, "start"),
  ]);
  const title = "A component made anew: bytes sent and seconds by the share of known contents";
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 285" role="img">',
    `<title>${title}</title>`,
    ...PANELS.flatMap(({ metric, left }) => panel(figures, metric, left)),
    ...legend,
    "</svg>",
    "",
  ].join("\n");
}
