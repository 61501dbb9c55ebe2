/** One volume is a disk of one machine: two that write to it destroy what is on it. */
import { CodedError } from "../../base/index.ts";
import { listVms } from "../../cluster/index.ts";
import type { StoredVm, VmRecord } from "../../cluster/index.ts";
import type { Directory } from "../../ports/index.ts";

/** Fails with `volume-of-vm` if any other machine has one of its volumes. */
export function requireOwnDisks(vm: VmRecord, others: readonly StoredVm[]): void {
  for (const { record } of others) refuseShared(vm, record);
}

/**
 * Fails with `volume-of-vm` if another machine that is not stopped has one of its volumes: records
 * that older versions have made may name the same.
 */
export async function requireFreeDisks(
  directory: Directory,
  clusterId: string,
  vm: VmRecord,
): Promise<void> {
  const { vms } = await listVms(directory, clusterId);
  for (const { record } of vms)
    if (record.hostId !== undefined || record.desired === "running") refuseShared(vm, record);
}

function refuseShared(vm: VmRecord, other: VmRecord): void {
  if (other.name === vm.name) return;
  const shared = vm.volumes.find((volume) => other.volumes.includes(volume));
  if (shared === undefined) return;
  throw new CodedError({
    code: "volume-of-vm",
    message: `volume ${shared} is a disk of virtual machine ${other.name}`,
    hint: `give ${vm.name} a volume of its own, or clone ${shared}; or delete ${other.name}`,
  });
}
