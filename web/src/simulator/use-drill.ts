/** The newest answer of the worker of drills; an older one stays until then. */
import { useEffect, useRef, useState } from "react";
import type { DrillRequest } from "../../../src/trial/index.ts";
import { parseLine } from "./trial-story.ts";
import type { StoryLine } from "./trial-story.ts";
import type { DrillAnswer, DrillMessage, DrillOrder } from "./drill-run.ts";

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
  const worker = useRef<DrillWorker>(undefined);
  const newest = useRef(0);
  const text = JSON.stringify(request);
  useEffect(() => () => worker.current?.end(), []);
  useEffect(() => {
    const number = ++newest.current;
    // One that still runs would be waited for; one that has run has its code compiled.
    if (worker.current?.isBusy === true) worker.current.end();
    if (worker.current?.hasEnded !== false) worker.current = new DrillWorker();
    setState((last) => ({ ...last, isRunning: true }));
    const asked = JSON.parse(text) as DrillRequest;
    worker.current.run({ number, request: asked }, (message) => {
      if (number !== newest.current) return;
      if (message.kind === "failed")
        setState((last) => ({ ...last, isRunning: false, reason: message.reason }));
      else setState({ isRunning: false, result: resultOf(asked, message), reason: undefined });
    });
  }, [text]);
  return state;
}

/** Runs one drill at a time, and as many as are wanted. */
class DrillWorker {
  hasEnded = false;
  readonly #worker = new Worker(new URL("./drill-run.ts", import.meta.url), { type: "module" });
  #onDone: ((message: DrillMessage) => void) | undefined;
  #number = 0;

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<DrillMessage>) => {
      this.#done(data);
    });
    this.#worker.addEventListener("error", ({ message }) => {
      // Its code could not be loaded, or is broken: the next one is tried anew.
      this.end();
      this.#done({ kind: "failed", number: this.#number, reason: message });
    });
  }

  get isBusy(): boolean {
    return this.#onDone !== undefined;
  }

  run(order: DrillOrder, onDone: (message: DrillMessage) => void): void {
    this.#onDone = onDone;
    this.#number = order.number;
    this.#worker.postMessage(order);
  }

  end(): void {
    this.hasEnded = true;
    this.#worker.terminate();
  }

  #done(message: DrillMessage): void {
    const onDone = this.#onDone;
    this.#onDone = undefined;
    onDone?.(message);
  }
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
