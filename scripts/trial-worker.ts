/** Runs one trial after the other for `scripts/trial.ts`, on a thread of its own. */
import { parentPort, workerData } from "node:worker_threads";
import { Depot, MACHINE_MUTANTS, MUTANTS, runMachineTrial, runTrial } from "../src/trial/index.ts";
import type { TrialReport } from "../src/trial/index.ts";

export interface TrialJob {
  /** Of virtual machines, not of volumes. */
  readonly isOfMachines: boolean;
  /** Seconds of faults only. */
  readonly isShort: boolean;
  readonly mutantName: string | undefined;
}

export type TrialMessage =
  | { readonly kind: "done"; readonly report: TrialReport }
  /** A promise was rejected and nobody was there to see it. */
  | { readonly kind: "unhandled"; readonly seed: number; readonly stack: string };

const port = parentPort;
if (port === null) throw new Error("this is a worker: run scripts/trial.ts");
const { mutantName, isOfMachines, isShort } = workerData as TrialJob;
const mutant = MUTANTS.find(({ name }) => name === mutantName);
const machineMutant = MACHINE_MUTANTS.find(({ name }) => name === mutantName);
const depot = new Depot();
let current = -1;

const send = (message: TrialMessage): void => port.postMessage(message);

process.on("unhandledRejection", (reason) => {
  const stack = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
  send({ kind: "unhandled", seed: current, stack });
});

port.on("message", (seed: number) => {
  current = seed;
  const trial = isOfMachines
    ? runMachineTrial(seed, machineMutant)
    : runTrial(seed, { depot, mutant, isShort });
  void trial.then((report) => send({ kind: "done", report }));
});
