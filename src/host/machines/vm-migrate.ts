/** Has a running machine move to another host: the record says so, and the hosts follow. */
import { CodedError, formatSize } from "../../base/index.ts";
import type { StoredVm, VmMigration, VmRecord } from "../../cluster/index.ts";
import { isUnderWay } from "../../ha/index.ts";
import type { HostViews } from "../../ha/index.ts";

export interface Cluster {
  readonly vms: readonly VmRecord[];
  /** Ids of hosts that look after machines. */
  readonly alive: readonly string[];
  readonly views: HostViews;
  /** Hosts that are being taken out of service. */
  readonly closed: ReadonlySet<string>;
  /** Names of hosts by id. */
  readonly names: ReadonlyMap<string, string>;
}

/** What the record is to say. Fails with `vm-runs-not`, `vm-migration-refused`, `host-unknown`. */
export function migrationOf(
  { record }: StoredVm,
  host: string | undefined,
  cluster: Cluster,
): VmMigration {
  const { name, hostId, epoch, startedEpoch, desired, isLeaving, migration } = record;
  const isRunning = hostId !== undefined && desired === "running" && startedEpoch === epoch;
  if (!isRunning || isLeaving)
    throw new CodedError({
      code: "vm-runs-not",
      message: `virtual machine ${name} does not run`,
      hint: `run drystone vm start ${name}`,
    });
  if (isUnderWay(record)) {
    const to = cluster.names.get(migration?.to ?? "") ?? "another host";
    throw refused(`${name} is moving to ${to} already`, `run drystone vm show ${name}`);
  }
  const to = host === undefined ? roomiest(record, cluster) : named(record, host, cluster);
  return { id: (migration?.id ?? 0) + 1, to, epoch, phase: "asked", address: "" };
}

/** It stays where it is. Fails with `vm-migration-refused`. */
export function calledOff({ record }: StoredVm): VmMigration {
  const { migration, name } = record;
  if (migration !== undefined && isUnderWay(record)) return { ...migration, phase: "over" };
  throw refused(`${name} is not moving`, `run drystone vm show ${name}`);
}

function named(record: VmRecord, host: string, cluster: Cluster): string {
  const { names, alive, views, closed } = cluster;
  const [id] = [...names].find(([, name]) => name === host) ?? [];
  if (id === undefined)
    throw new CodedError({
      code: "host-unknown",
      message: `the cluster has no host ${host}`,
      hint: "run drystone host list",
    });
  if (id === record.hostId) throw refused(`${record.name} runs on ${host} already`, "Name another");
  if (closed.has(id)) throw refused(`${host} is in maintenance`, "Name another host");
  const lack = alive.includes(id) ? views.whyNot(id, record.name) : "it does not answer";
  if (lack !== undefined)
    throw refused(`${host} cannot run ${record.name}: ${lack}`, "Name another host");
  const room = roomFor(record, id, cluster);
  if (room < record.memoryBytes) {
    const left = `${formatSize(Math.max(0, room))} of ${formatSize(record.memoryBytes)} are left`;
    throw refused(`${host} has no room for ${record.name}: ${left}`, "Name none, or another host");
  }
  return id;
}

/** Of the hosts that could run it, the one with the most room left. */
function roomiest(record: VmRecord, cluster: Cluster): string {
  const { alive, views, closed } = cluster;
  const roomOn = (id: string): number => roomFor(record, id, cluster);
  const [best] = alive
    .filter((id) => id !== record.hostId && !closed.has(id))
    .filter((id) => views.whyNot(id, record.name) === undefined)
    .toSorted((a, b) => roomOn(b) - roomOn(a) || (a < b ? -1 : 1));
  if (best !== undefined && roomOn(best) >= record.memoryBytes) return best;
  throw refused(
    best === undefined
      ? `no other host reaches all objects of ${record.name}`
      : `no other host has room for ${record.name}`,
    `drystone why vm ${record.name}`,
  );
}

/** Bytes of memory beside all other machines that are on the host or on their way to it. */
function roomFor({ name }: VmRecord, hostId: string, { vms, views }: Cluster): number {
  return vms
    .filter((vm) => vm.name !== name && (vm.hostId === hostId || isOnItsWay(vm, hostId)))
    .reduce((room, vm) => room - vm.memoryBytes, views.capacityOf(hostId).memoryBytes);
}

function isOnItsWay(vm: VmRecord, hostId: string): boolean {
  return isUnderWay(vm) && vm.migration?.to === hostId;
}

function refused(message: string, hint: string): CodedError {
  return new CodedError({ code: "vm-migration-refused", message, hint });
}
