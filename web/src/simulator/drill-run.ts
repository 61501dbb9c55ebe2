/** The worker of a drill: runs it from its beginning to its end, and tells what came of it. */
import { Depot, runDrill } from "../../../src/trial/index.ts";
import type { DrillReport, DrillRequest } from "../../../src/trial/index.ts";

export interface DrillAnswer {
  readonly number: number;
  readonly report: DrillReport;
  readonly lines: readonly string[];
  readonly realMs: number;
}

export type DrillMessage =
  | ({ readonly kind: "done" } & DrillAnswer)
  | { readonly kind: "failed"; readonly number: number; readonly reason: string };

export interface DrillOrder {
  readonly number: number;
  readonly request: DrillRequest;
}

/** Blank devices are made once for all runs; the page asks for one at a time. */
const depot = new Depot();

function tell(message: DrillMessage): void {
  globalThis.postMessage(message);
}

async function run({ number, request }: DrillOrder): Promise<void> {
  const fromMs = performance.now();
  const lines: string[] = [];
  const report = await runDrill(request, { depot, onLine: (line) => lines.push(line) });
  tell({ kind: "done", number, report, lines, realMs: performance.now() - fromMs });
}

globalThis.addEventListener("message", ({ data }: MessageEvent<DrillOrder>) => {
  run(data).catch((error: unknown) => {
    tell({ kind: "failed", number: data.number, reason: String(error) });
  });
});
