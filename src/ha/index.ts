/**
 * Virtual machines on the hosts of a cluster: who runs which, and what happens when a host fails.
 */
export { VmHost } from "./vm-host.ts";
export type { VmEvent, VmWorld } from "./vm-host.ts";
