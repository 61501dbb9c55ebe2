/** What a host process has for virtual machines: its QEMUs, its part in HA, the handlers. */
import { availableParallelism, totalmem } from "node:os";
import { errorText } from "../../base/index.ts";
import { attachOnceFree, VmHost } from "../../ha/index.ts";
import type { VmCapacity } from "../../ha/index.ts";
import { QemuHypervisor } from "../../platform/index.ts";
import type { QemuOptions } from "../../platform/index.ts";
import type { Clock, Directory, Log } from "../../ports/index.ts";
import type { BootFiles } from "./boot-files.ts";
import type { DataPlaneThread } from "../data/data-plane-thread.ts";
import type { EventRing } from "../api/event-ring.ts";
import type { HostConfig } from "../host-config.ts";
import { hostNetwork } from "../peers/host-management.ts";
import { HostMigrationWays } from "./migration-ways.ts";
import type { HostManagement } from "../peers/host-management.ts";
import type { OtherHosts } from "../peers/other-hosts.ts";
import type { StateDir } from "../state-dir.ts";
import type { HostTls } from "../certificates/tls-folder.ts";
import { haPeers, offerHa, vmStorage } from "./vm-ha.ts";
import { vmMachineHandlers } from "./vm-machine.ts";
import type { VmMachineHandlers } from "./vm-machine.ts";
import { attachForVm, detachForVm, diskOfVm, expectForVm } from "./vm-volumes.ts";
import type { DiskOfVm } from "./vm-volumes.ts";

const SYSTEM_BYTES: number = 2 ** 30;

/** `DRYSTONE_QEMU` is the program, where it is not found by the name that Debian has for it. */
export function openHypervisor(
  state: StateDir,
  bootFiles: BootFiles,
  { events, log }: { readonly events: EventRing; readonly log: Log },
): QemuHypervisor {
  const program = process.env["DRYSTONE_QEMU"];
  const chosen = program === undefined ? {} : { program };
  return new QemuHypervisor({
    folder: state.vmsPath,
    accelerator: accelerator(),
    bootFile: (file) => bootFiles.open(file),
    onTrouble: (vm, what) => {
      const message = `virtual machine ${vm} ${what}`;
      log.write("warning", message, { event: "vm-failed" });
      void events.add({ kind: "vm-failed", level: "warning", message, details: { vm } });
    },
    ...chosen,
  });
}

/** `DRYSTONE_ACCEL=tcg` and `kvm` decide what is otherwise found out. */
function accelerator(): QemuOptions["accelerator"] {
  const wanted = process.env["DRYSTONE_ACCEL"];
  return wanted === "tcg" || wanted === "kvm" ? wanted : "auto";
}

export function machineHandlers(parts: {
  readonly config: HostConfig;
  readonly state: StateDir;
  readonly directory: Directory;
  readonly others: OtherHosts;
  readonly hypervisor: QemuHypervisor;
}): VmMachineHandlers {
  const { config, state, directory, others, hypervisor } = parts;
  const { clusterId, hostId } = state.identity;
  const hostName = config.name;
  return vmMachineHandlers({ directory, clusterId, hostId, hostName, hypervisor, others });
}

export async function startVms(parts: {
  readonly config: HostConfig;
  readonly state: StateDir;
  readonly directory: Directory;
  readonly events: EventRing;
  readonly clock: Clock;
  readonly log: Log;
  readonly hypervisor: QemuHypervisor;
  readonly plane: DataPlaneThread["peer"];
  readonly management: HostManagement;
  readonly tls: HostTls | undefined;
}): Promise<VmHost> {
  const { config, state, directory, events, clock, log, hypervisor, plane, management } = parts;
  const { clusterId, hostId } = state.identity;
  const { name } = config;
  const names = await hostNames(plane, events, log);
  const storage = vmStorage(plane);
  const disk = (volume: string, vm: string): DiskOfVm => diskOfVm(state.socketsPath, volume, vm);
  offerHa(management, storage, directory, clusterId);
  const vms = new VmHost({
    storage,
    peers: haPeers(management),
    capacity: capacityFor(config),
    directory,
    hypervisor,
    clock,
    log,
    clusterId,
    hostId,
    incarnation: Math.round(clock.wallMs()),
    attach: (volume, vm) => attachOnceFree(clock, () => attachForVm(plane, disk(volume, vm), name)),
    detach: (volume, vm) => detachForVm(plane, disk(volume, vm)),
    expect: (volume, vm) => expectForVm(plane, disk(volume, vm)),
    ways: new HostMigrationWays({
      network: hostNetwork(parts.tls, log),
      address: config.cluster?.managementAddress ?? config.cluster?.storageAddress,
      socketsPath: state.socketsPath,
      log,
    }),
    nameOf: (id) => names.get(id) ?? id,
    addEvent: (event) => void events.add(event),
  });
  // What is reached over the storage network has changed.
  events.follow(({ kind }) => {
    if (kind === "host-up" || kind === "host-down") vms.wake();
  });
  vms.start();
  return vms;
}

/** What the host itself and the machine's own system do not need. */
function capacityFor({ memoryBytes }: HostConfig): VmCapacity {
  const own = memoryBytes + SYSTEM_BYTES;
  return { memoryBytes: Math.max(0, totalmem() - own), cpuCount: availableParallelism() };
}

/** By id; a host that joins later is there when it is reached. */
async function hostNames(
  plane: DataPlaneThread["peer"],
  events: EventRing,
  log: Log,
): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  const read = async (): Promise<void> => {
    for (const peer of await plane.call("listHosts", undefined)) names.set(peer.hostId, peer.name);
  };
  events.follow(({ kind }) => {
    if (kind !== "host-up") return;
    read().catch((error: unknown) => {
      log.write("warning", `names of hosts are not known: ${errorText(error)}`);
    });
  });
  await read();
  return names;
}
