/**
 * The worker of the simulator: runs the product's own code for a whole cluster in virtual time,
 * from a seed, and tells what happened in pieces.
 */
import { Depot, MUTANTS, runTrial } from "../../../src/trial/index.ts";
import type { TrialReport } from "../../../src/trial/index.ts";

export interface TrialRequest {
  readonly seed: number;
  /** The name of a safety rule that is left out, or "". */
  readonly without: string;
}

export type TrialMessage =
  | { readonly kind: "lines"; readonly lines: readonly string[] }
  | { readonly kind: "report"; readonly report: TrialReport; readonly realMs: number }
  | { readonly kind: "failed"; readonly reason: string };

const PIECE_LINES = 500;

function tell(message: TrialMessage): void {
  globalThis.postMessage(message);
}

async function run({ seed, without }: TrialRequest): Promise<void> {
  const from = performance.now();
  let lines: string[] = [];
  const report = await runTrial(seed, {
    depot: new Depot(),
    mutant: MUTANTS.find(({ name }) => name === without),
    onLine: (line) => {
      lines.push(line);
      if (lines.length < PIECE_LINES) return;
      tell({ kind: "lines", lines });
      lines = [];
    },
  });
  tell({ kind: "lines", lines });
  // Its trace is what was told already.
  tell({ kind: "report", report: { ...report, trace: [] }, realMs: performance.now() - from });
}

globalThis.addEventListener("message", (event: MessageEvent<TrialRequest>) => {
  run(event.data).catch((error: unknown) => tell({ kind: "failed", reason: String(error) }));
});
