/**
 * Whether all protected machines could run if the hosts with the most room failed: memory only,
 * since processors are shared.
 */
import { formatSize } from "../base/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import type { HostViews } from "./host-views.ts";

/** Returns what is lacking after the failure of `toleratedHosts`, or undefined if nothing is. */
export function admissionProblem(
  vms: readonly VmRecord[],
  alive: readonly string[],
  views: HostViews,
  toleratedHosts: number,
): string | undefined {
  const running = vms.filter(({ desired, isProtected }) => desired === "running" && isProtected);
  const needed = running.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const rooms = alive
    .map((hostId) => views.capacityOf(hostId).memoryBytes)
    .toSorted((a, b) => b - a)
    .slice(toleratedHosts);
  const left = rooms.reduce((sum, memoryBytes) => sum + memoryBytes, 0);
  const largest = Math.max(0, ...running.map(({ memoryBytes }) => memoryBytes));
  const whose = `with ${toleratedHosts} of ${alive.length} hosts failed`;
  if (needed > left)
    return `protected machines need ${formatSize(needed)} of memory, and ${formatSize(left)} is left ${whose}`;
  if (largest > Math.max(0, ...rooms))
    return `a machine of ${formatSize(largest)} fits on no host that is left ${whose}`;
  return undefined;
}
