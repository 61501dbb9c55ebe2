/** The whole cluster in one process, virtual time, one seed. Uses no Node API. */
export { Depot } from "./depot.ts";
export { FAULT_KINDS } from "./fault-kinds.ts";
export { checkBlock } from "./linearizability.ts";
export type { BlockOperation, Verdict } from "./linearizability.ts";
export { MACHINE_MUTANTS } from "./machine-mutants.ts";
export { runMachineTrial } from "./machine-trial.ts";
export { MUTANTS } from "./mutants.ts";
export type { Mutant } from "./mutants.ts";
export { DRILL_ACTIONS, runDrill } from "./drill.ts";
export type * from "./drill.ts";
export { DrillWorld } from "./drill-world.ts";
export type { DrillRun } from "./drill-world.ts";
export { exampleLayout } from "./drill-layout.ts";
export type * from "./drill-layout.ts";
export { runTrial } from "./trial.ts";
export type { TrialReport } from "./trial.ts";
