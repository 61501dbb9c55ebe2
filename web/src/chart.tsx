/** Lines over time, with their newest and highest values in words for those who do not see them. */
import { useState } from "react";
import type { PointerEvent, ReactNode } from "react";
import { duration } from "./format.ts";

export interface Line {
  readonly name: string;
  readonly className: "first" | "second";
  readonly values: readonly (number | undefined)[];
}

const WIDTH = 600;
const HEIGHT = 150;
/** Room for the newest five minutes, however many samples there are yet. */
const SLOTS = 150;

export function Chart(props: {
  title: string;
  lines: readonly Line[];
  /** When each value was taken; any clock. */
  times: readonly number[];
  format: (value: number) => string;
}): ReactNode {
  const { title, lines, times, format } = props;
  const [at, setAt] = useState<number>();
  const all = lines.flatMap(({ values }) => values.filter((value) => value !== undefined));
  const top = niceTop(Math.max(0, ...all));
  const shown = at !== undefined && at < times.length ? at : times.length - 1;
  const move = (event: PointerEvent<SVGSVGElement>): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const slot = Math.round(((event.clientX - box.left) / box.width) * (SLOTS - 1));
    setAt(Math.min(times.length - 1, Math.max(0, slot - (SLOTS - times.length))));
  };
  const newest = times.at(-1) ?? 0;
  const when = duration(newest - (times[shown] ?? newest));
  return (
    <figure className="chart">
      <figcaption>
        <span>{title}</span>
        <span className="legend">
          {lines.map(({ name, className, values }) => (
            <span key={name} className={className}>
              {name} <strong>{inWords(values[shown], format)}</strong>
            </span>
          ))}
        </span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={describe(title, lines, format)}
        onPointerMove={move}
        onPointerLeave={() => setAt(undefined)}
      >
        {[0.25, 0.5, 0.75].map((share) => (
          <line
            key={share}
            className="grid"
            x1={0}
            x2={WIDTH}
            y1={HEIGHT * share}
            y2={HEIGHT * share}
          />
        ))}
        {lines.map(({ name, className, values }) => (
          <path key={name} className={`line ${className}`} d={pathOf(values, top)} />
        ))}
        {at !== undefined && times.length > 0 && (
          <line
            className="cursor"
            x1={xOf(shown, times.length)}
            x2={xOf(shown, times.length)}
            y1={0}
            y2={HEIGHT}
          />
        )}
      </svg>
      <div className="axis" aria-hidden="true">
        <span>{at === undefined ? "5 minutes" : `${when} ago`}</span>
        <span>highest line: {format(top)}</span>
      </div>
    </figure>
  );
}

function xOf(index: number, count: number): number {
  return ((SLOTS - count + index) / (SLOTS - 1)) * WIDTH;
}

function pathOf(values: readonly (number | undefined)[], top: number): string {
  let path = "";
  let isDown = false;
  for (const [index, value] of values.entries()) {
    if (value === undefined) {
      isDown = false;
      continue;
    }
    const x = xOf(index, values.length).toFixed(1);
    const y = (HEIGHT - 2 - (value / top) * (HEIGHT - 6)).toFixed(1);
    path += `${isDown ? "L" : "M"}${x} ${y}`;
    // A value alone is a dot, which a line of no length with round ends is.
    if (!isDown && values[index + 1] === undefined) path += `L${x} ${y}`;
    isDown = true;
  }
  return path;
}

/** 1, 2 or 5 times a power of ten. */
function niceTop(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10) * power;
}

function inWords(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? "none" : format(value);
}

function describe(
  title: string,
  lines: readonly Line[],
  format: (value: number) => string,
): string {
  const told = lines.map(({ name, values }) => {
    const known = values.filter((value) => value !== undefined);
    const highest = known.length === 0 ? undefined : Math.max(...known);
    return `${name} now ${inWords(values.at(-1), format)}, highest ${inWords(highest, format)}`;
  });
  return `${title} in the last five minutes: ${told.join("; ")}`;
}
