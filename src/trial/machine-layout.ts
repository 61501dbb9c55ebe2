/**
 * What machines and hosts of a trial are like: how many disks machines have, what they need and
 * what hosts have for them. Drawn apart: trials in which all have one disk and room for everything
 * go their way.
 */
import { Prng } from "../base/index.ts";

/** What is left where nothing is said: room for everything. */
const AMPLE = { memoryBytes: 2 ** 36, cpuCount: 64 };
const SMALL_BYTES: number = 2 ** 28;
const MEMORY_UNITS_MAX = 4;
/** Of several machines that fill hosts together. */
const MORE_MACHINES = 5;

export interface MachineKind {
  readonly diskCount: number;
  readonly memoryBytes: number;
  /** Kept apart from others of it; undefined: from none. */
  readonly group: string | undefined;
}

export interface MachineLayout {
  readonly machines: readonly MachineKind[];
  /** Bytes of memory for machines, of each host. */
  readonly memoryBytes: readonly number[];
  readonly cpuCount: number;
  /** Room is scarce: machines may have to wait for it. */
  readonly isTight: boolean;
}

/** `machineCount` is of a trial with room for everything: others have more. */
export function planLayout(seed: number, hostCount: number, machineCount: number): MachineLayout {
  const prng = new Prng(seed ^ 0x1a70);
  const isTight = prng.chance(0.4);
  const hasManyDisks = prng.chance(0.4);
  const count = isTight ? machineCount + prng.below(MORE_MACHINES + 1) : machineCount;
  const machines = Array.from({ length: count }, () => ({
    diskCount: hasManyDisks ? prng.between(1, 3) : 1,
    memoryBytes: isTight ? SMALL_BYTES * prng.between(1, MEMORY_UNITS_MAX) : SMALL_BYTES,
    group: isTight && prng.chance(0.2) ? "apart" : undefined,
  }));
  if (!isTight) {
    const memoryBytes = Array.from({ length: hostCount }, () => AMPLE.memoryBytes);
    return { machines, memoryBytes, cpuCount: AMPLE.cpuCount, isTight };
  }
  const needed = machines.reduce((sum, kind) => sum + kind.memoryBytes, 0);
  // From too little for all of them to enough with a host or two away.
  const share = (prng.between(7, 20) / 10 / hostCount) * (needed / SMALL_BYTES);
  const memoryBytes = Array.from({ length: hostCount }, () => {
    const units = Math.max(1, Math.round((share * prng.between(60, 140)) / 100));
    return units * SMALL_BYTES;
  });
  return { machines, memoryBytes, cpuCount: AMPLE.cpuCount, isTight };
}
