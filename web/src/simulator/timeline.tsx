/** The whole trial on one line, with what went wrong when; time is dragged or let run. */
import { useEffect, useState } from "react";
import type { ReactNode } from "react";
import { clock } from "./words.ts";
import type { FaultSpan } from "./trial-story.ts";

const TICK_MS = 50;
const SPEEDS = [1, 4, 16, 64] as const;
const LANE_HEIGHT = 7;
const LANE_PX = 16;
const LANES_PX_MAX = 64;

export function Timeline(props: {
  endMs: number;
  atMs: number;
  setAt: (update: (atMs: number) => number) => void;
  spans: readonly FaultSpan[];
}): ReactNode {
  const { endMs, atMs, setAt, spans } = props;
  const [isPlaying, setPlaying] = useState(false);
  const [speed, setSpeed] = useState<number>(4);
  useEffect(() => {
    if (!isPlaying) return undefined;
    const tick = window.setInterval(() => {
      setAt((last) => Math.min(endMs, last + TICK_MS * speed));
    }, TICK_MS);
    return () => window.clearInterval(tick);
  }, [isPlaying, speed, endMs, setAt]);
  const isOver = atMs >= endMs;
  const play = (): void => {
    if (isOver) setAt(() => 0);
    setPlaying(!isPlaying || isOver);
  };
  return (
    <div className="timeline">
      <Faults spans={spans} endMs={endMs} atMs={atMs} />
      <input
        type="range"
        aria-label="Moment of the trial"
        aria-valuetext={clock(atMs)}
        min={0}
        max={Math.ceil(endMs)}
        step={10}
        value={atMs}
        onChange={(event) => setAt(() => Number(event.target.value))}
      />
      <div className="buttons left">
        <button type="button" className="primary" onClick={play}>
          {isPlaying && !isOver ? "Pause" : "Play"}
        </button>
        <label className="inline">
          Speed{" "}
          <select value={speed} onChange={(event) => setSpeed(Number(event.target.value))}>
            {SPEEDS.map((one) => (
              <option key={one} value={one}>
                {one} ×
              </option>
            ))}
          </select>
        </label>
        <span className="moment">
          {clock(atMs)} of {clock(endMs)}
        </span>
      </div>
    </div>
  );
}

function Faults(props: { spans: readonly FaultSpan[]; endMs: number; atMs: number }): ReactNode {
  const { spans, endMs, atMs } = props;
  const lanes = lanesOf(spans);
  const count = Math.max(1, ...lanes.map((lane) => lane + 1));
  const share = (ms: number): number => (1000 * Math.min(ms, endMs)) / Math.max(1, endMs);
  return (
    <svg
      className="faults"
      height={Math.min(LANES_PX_MAX, count * LANE_PX)}
      viewBox={`0 0 1000 ${count * LANE_HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${spans.length} things go wrong; the list below tells which at each moment`}
    >
      {spans.map(({ what, fromMs, toMs }, index) => (
        <rect
          key={`${fromMs} ${what}`}
          x={share(fromMs)}
          width={Math.max(2, share(toMs) - share(fromMs))}
          y={(lanes[index] ?? 0) * LANE_HEIGHT}
          height={LANE_HEIGHT - 2}
        />
      ))}
      <line x1={share(atMs)} x2={share(atMs)} y1={0} y2={count * LANE_HEIGHT} />
    </svg>
  );
}

/** For each span the first lane that is free. */
function lanesOf(spans: readonly FaultSpan[]): readonly number[] {
  const busyUntil: number[] = [];
  return spans.map(({ fromMs, toMs }) => {
    const free = busyUntil.findIndex((untilMs) => untilMs <= fromMs);
    const lane = free < 0 ? busyUntil.length : free;
    busyUntil[lane] = toMs;
    return lane;
  });
}
