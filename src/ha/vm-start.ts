/** What a hypervisor is to make of a machine's record. */
import { vmNetworks } from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import type { VmDisk, VmStart } from "../ports/index.ts";

/** In a machine's history. */
export const STARTED = "started";

export function vmStart(
  clusterId: string,
  record: VmRecord,
  epoch: number,
  disks: readonly VmDisk[],
): VmStart {
  const { name, cpuCount, memoryBytes, boot, firmwarePath } = record;
  const networks = vmNetworks(clusterId, record);
  const machine = { vmId: name, name, epoch, cpuCount, memoryBytes, boot, disks, networks };
  const hasWatchdog = record.hasWatchdog === true;
  return { ...machine, hasWatchdog, hasAgent: record.hasAgent === true, firmwarePath };
}

/** What its record says after a start that failed. */
export function oneMoreFailure({ failureCount }: VmRecord, wallMs: number): Partial<VmRecord> {
  return { failureCount: failureCount + 1, lastFailureMs: Math.round(wallMs) };
}
