/** The layout of the cluster that runs, for a drill. */
import type { HaView, TreeView, VmView, VolumeView } from "../../../src/host/index.ts";
import type {
  DrillHostLayout,
  DrillLayout,
  DrillMachine,
  DrillTree,
  DrillVolume,
} from "../../../src/trial/index.ts";
import { call } from "../api.ts";
import { byName } from "../../../src/base/natural-order.ts";
import { HOSTS_MAX, VOLUMES_MAX } from "./drill-link.ts";

/** Where no host has said what it has for machines. */
const ROOM = { memoryBytes: 2 ** 36, cpuCount: 32 };
const PRIORITIES: readonly VmView["priority"][] = ["highest", "high", "medium", "low", "lowest"];

/** Or why there is none. */
export async function liveLayout(): Promise<DrillLayout | string> {
  // What the page shows may be older, or not whole yet.
  const [status, listed, { vms }, ha] = await Promise.all([
    call("status", {}),
    call("volume.list", {}),
    call("vm.list", {}),
    call("ha.show", {}),
  ]);
  const hosts = byName(status.hosts);
  if (hosts.length > HOSTS_MAX || listed.volumes.length > VOLUMES_MAX)
    return `A browser does with ${HOSTS_MAX} hosts and ${VOLUMES_MAX} volumes at most.`;
  const names = hosts.map(({ name }) => name);
  const volumes = byName(listed.volumes).flatMap((volume) => volumeOf(volume, names) ?? []);
  const known = new Set(volumes.map(({ name }) => name));
  return {
    hosts: hosts.map(({ name, faultDomain }) => hostOf(name, faultDomain, ha)),
    volumes,
    machines: byName(vms)
      .filter(({ state }) => state !== "stopped")
      .filter((vm) => vm.volumes.length > 0 && vm.volumes.every((volume) => known.has(volume)))
      .map((vm) => machineOf(vm, names)),
  };
}

function hostOf(name: string, faultDomain: string, ha: HaView): DrillHostLayout {
  const room = ha.rooms.find(({ host }) => host === name) ?? ROOM;
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
