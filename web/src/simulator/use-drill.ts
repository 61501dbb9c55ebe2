/** The newest answer of the worker of drills; an older one stays until then. */
import { useEffect, useRef, useState } from "react";
import type { DrillRequest } from "../../../src/trial/index.ts";
import { parseLine } from "./trial-story.ts";
import type { StoryLine } from "./trial-story.ts";
import type { DrillAnswer, DrillMessage } from "./drill-run.ts";

export interface DrillResult extends Omit<DrillAnswer, "lines" | "number"> {
  readonly request: DrillRequest;
  /** In the time of the drill. */
  readonly lines: readonly StoryLine[];
}

export interface DrillState {
  readonly isRunning: boolean;
  readonly result: DrillResult | undefined;
  /** The page itself failed. */
  readonly reason: string | undefined;
}

const NOTHING: DrillState = { isRunning: false, result: undefined, reason: undefined };

/** Runs `request` whenever it is another one. */
export function useDrill(request: DrillRequest): DrillState {
  const [state, setState] = useState(NOTHING);
  const worker = useRef<Worker>(undefined);
  const newest = useRef(0);
  const text = JSON.stringify(request);
  useEffect(() => () => worker.current?.terminate(), []);
  useEffect(() => {
    const number = ++newest.current;
    // One that still runs would be waited for.
    worker.current?.terminate();
    const one = new Worker(new URL("./drill-run.ts", import.meta.url), { type: "module" });
    worker.current = one;
    setState((last) => ({ ...last, isRunning: true }));
    const asked = JSON.parse(text) as DrillRequest;
    one.addEventListener("message", ({ data }: MessageEvent<DrillMessage>) => {
      if (data.number !== newest.current) return;
      if (data.kind === "failed")
        setState((last) => ({ ...last, isRunning: false, reason: data.reason }));
      else setState({ isRunning: false, result: resultOf(asked, data), reason: undefined });
    });
    one.addEventListener("error", ({ message }) => {
      setState((last) => ({ ...last, isRunning: false, reason: message }));
    });
    one.postMessage({ number, request: asked });
  }, [text]);
  return state;
}

function resultOf(request: DrillRequest, { report, lines, realMs }: DrillAnswer): DrillResult {
  const { startMs } = report;
  const parsed = lines
    .map(parseLine)
    .filter((line) => line !== undefined)
    .map((line) => ({ ...line, timeMs: line.timeMs - startMs }))
    .filter(({ timeMs }) => timeMs >= 0);
  return { request, report, lines: parsed, realMs };
}
