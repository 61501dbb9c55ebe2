/** The whole cluster in one process, virtual time, one seed. Uses no Node API. */
export { Depot } from "./depot.ts";
export { FAULT_KINDS } from "./fault-kinds.ts";
export { checkBlock } from "./linearizability.ts";
export type { BlockOperation, Verdict } from "./linearizability.ts";
export { MACHINE_MUTANTS } from "./machine-mutants.ts";
export { runMachineTrial } from "./machine-trial.ts";
export { MUTANTS } from "./mutants.ts";
export type { Mutant } from "./mutants.ts";
export { runTrial } from "./trial.ts";
export type { TrialReport } from "./trial.ts";
