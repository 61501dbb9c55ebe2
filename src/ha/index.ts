/**
 * Virtual machines on the hosts of a cluster: who runs which, and what happens when a host fails.
 */
export { admissionProblem } from "./admission.ts";
export type { AdmissionProblem } from "./admission.ts";
export { attachOnceFree } from "./attach-once-free.ts";
export type { HaRules } from "./ha-rules.ts";
export { hostsOnDuty, HostViews, longestLeaseMs, unheardHosts } from "./host-views.ts";
export { unheardWithMachines } from "./host-views.ts";
export { judgeHosts } from "./host-conditions.ts";
export type { HostCondition, HostSight } from "./host-conditions.ts";
export { foreseeFailure } from "./what-if.ts";
export type { Foreseen } from "./what-if.ts";
export { DOES_NOT_MOVE, isUnderWay } from "./vm-migration.ts";
export type { MigrationWays } from "./vm-migration.ts";
export { VmHost } from "./vm-host.ts";
export type { HaPeers, ProtectionState, VmCapacity, VmReach, VmStorage } from "./vm-storage.ts";
export type { VmEvent, VmWorld } from "./vm-world.ts";
