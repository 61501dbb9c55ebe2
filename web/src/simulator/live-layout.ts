/** The layout of the cluster that runs, for a drill. */
import type { HaView, TreeView, VmView, VolumeView } from "../../../src/host/index.ts";
import type {
  DrillHostLayout,
  DrillLayout,
  DrillMachine,
  DrillTree,
  DrillVolume,
} from "../../../src/trial/index.ts";
import type { ClusterState } from "../cluster-store.ts";
import { HOSTS_MAX, VOLUMES_MAX } from "./drill-link.ts";

/** Where no host has said what it has for machines. */
const ROOM = { memoryBytes: 2 ** 36, cpuCount: 32 };
const PRIORITIES: readonly VmView["priority"][] = ["highest", "high", "medium", "low", "lowest"];

/** Or why there is none. */
export function liveLayout(cluster: ClusterState, ha: HaView | undefined): DrillLayout | string {
  const { status, vms } = cluster;
  if (status === undefined) return "The host has not told yet what the cluster is like.";
  if (status.hosts.length > HOSTS_MAX || cluster.volumes.length > VOLUMES_MAX)
    return `A browser does with ${HOSTS_MAX} hosts and ${VOLUMES_MAX} volumes at most.`;
  const names = status.hosts.map(({ name }) => name);
  const volumes = cluster.volumes.flatMap((volume) => volumeOf(volume, names) ?? []);
  const known = new Set(volumes.map(({ name }) => name));
  return {
    hosts: status.hosts.map(({ name, faultDomain }) => hostOf(name, faultDomain, ha)),
    volumes,
    machines: vms
      .filter(({ state }) => state !== "stopped")
      .filter((vm) => vm.volumes.length > 0 && vm.volumes.every((volume) => known.has(volume)))
      .map((vm) => machineOf(vm, names)),
  };
}

function hostOf(name: string, faultDomain: string, ha: HaView | undefined): DrillHostLayout {
  const room = ha?.rooms.find(({ host }) => host === name) ?? ROOM;
  return { name, faultDomain, memoryBytes: room.memoryBytes, cpuCount: room.cpuCount };
}

/** Undefined where a part of it is on a host that is gone. */
function volumeOf(volume: VolumeView, hosts: readonly string[]): DrillVolume | undefined {
  const { name, failuresToTolerate, components } = volume;
  const hostOf = new Map(components.map((one) => [one.componentId, hosts.indexOf(one.host)]));
  const treeOf = ({ kind, componentId = "", children }: TreeView): DrillTree =>
    children === undefined || children.length === 0
      ? { kind, host: hostOf.get(componentId) ?? -1 }
      : { kind, children: children.map(treeOf) };
  const tree = treeOf(volume.tree);
  return isWhole(tree) ? { name, failuresToTolerate, tree } : undefined;
}

function isWhole({ host = 0, children = [] }: DrillTree): boolean {
  return host >= 0 && children.every(isWhole);
}

function machineOf(vm: VmView, hosts: readonly string[]): DrillMachine {
  const { name, volumes, memoryBytes, cpuCount, antiAffinity, protection } = vm;
  const host = vm.host === undefined ? -1 : hosts.indexOf(vm.host);
  return {
    ...{ name, volumes, memoryBytes, cpuCount },
    priority: PRIORITIES.indexOf(vm.priority),
    isProtected: protection !== "unprotected",
    ...(antiAffinity === undefined ? {} : { antiAffinity }),
    ...(host < 0 ? {} : { host }),
  };
}
