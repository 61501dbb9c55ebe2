/** One trial at a time, in a worker of its own. */
import { useEffect, useRef, useState } from "react";
import type { TrialReport } from "../../../src/trial/index.ts";
import { parseLine } from "./trial-story.ts";
import type { StoryLine } from "./trial-story.ts";
import type { TrialMessage, TrialRequest } from "./trial-run.ts";

export interface TrialState {
  readonly request: TrialRequest | undefined;
  readonly isRunning: boolean;
  readonly lines: readonly StoryLine[];
  readonly report: TrialReport | undefined;
  readonly realMs: number;
  /** The page itself failed. */
  readonly reason: string | undefined;
}

const NOTHING: TrialState = {
  request: undefined,
  isRunning: false,
  lines: [],
  report: undefined,
  realMs: 0,
  reason: undefined,
};

export function useTrial(): readonly [TrialState, (request: TrialRequest) => void, () => void] {
  const [state, setState] = useState(NOTHING);
  const worker = useRef<Worker>(undefined);
  const stop = (): void => {
    worker.current?.terminate();
    worker.current = undefined;
    setState((last) => ({ ...last, isRunning: false }));
  };
  const start = (request: TrialRequest): void => {
    worker.current?.terminate();
    setState({ ...NOTHING, request, isRunning: true });
    const one = new Worker(new URL("./trial-run.ts", import.meta.url), { type: "module" });
    worker.current = one;
    one.addEventListener("message", ({ data }: MessageEvent<TrialMessage>) => {
      setState((last) => after(last, data));
    });
    one.addEventListener("error", ({ message }) => {
      setState((last) => ({ ...last, isRunning: false, reason: message }));
    });
    one.postMessage(request);
  };
  useEffect(() => () => worker.current?.terminate(), []);
  return [state, start, stop];
}

function after(last: TrialState, message: TrialMessage): TrialState {
  switch (message.kind) {
    case "lines": {
      const parsed = message.lines.map(parseLine).filter((line) => line !== undefined);
      return { ...last, lines: [...last.lines, ...parsed] };
    }
    case "report":
      return { ...last, isRunning: false, report: message.report, realMs: message.realMs };
    case "failed":
      return { ...last, isRunning: false, reason: message.reason };
  }
}
