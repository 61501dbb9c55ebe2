/** The ports in one deterministic process. Only tests and trials import this floor. */
export type { CrashPolicy } from "./crash-policy.ts";
export { DiskMedium } from "./disk-medium.ts";
export type { DiskMediumOptions } from "./disk-medium.ts";
export type { SimEvent, SimScope } from "./event-queue.ts";
export { MetadataMedium } from "./metadata-medium.ts";
export { SimClock } from "./sim-clock.ts";
export { SimDisk } from "./sim-disk.ts";
export type { Latency, SimDiskOptions } from "./sim-disk.ts";
export { SimMachine } from "./sim-machine.ts";
export type { MachineOutcome, SimMedium, SimOperation } from "./sim-machine.ts";
export { SimMetadataStore } from "./sim-metadata-store.ts";
export type { SimMetadataStoreOptions } from "./sim-metadata-store.ts";
export { Simulation } from "./simulation.ts";
export type { SimulationOptions } from "./simulation.ts";
