/** What QEMU is told of a machine when it is started. */
import type { VmDisk, VmNetwork, VmStart } from "../../ports/index.ts";

/** What the QEMU of this host can do. */
export interface QemuAbilities {
  readonly useKvm: boolean;
  /** Otherwise disks are served over NBD, for which each must have a socket. */
  readonly useVhost: boolean;
}

/** Seconds for which requests wait while the host process is away: its volumes decide how long. */
const NBD_RECONNECT_S = 86_400;

/** `file` tells where a file of the machine's folder is. */
export function qemuArguments(
  vm: VmStart,
  { useKvm, useVhost }: QemuAbilities,
  file: (name: string) => string,
): string[] {
  const { name, cpuCount, memoryBytes, boot, disks, networks, hasWatchdog } = vm;
  const { hasAgent, firmwarePath } = vm;
  const memory = `${Math.floor(memoryBytes / 2 ** 20)}M`;
  return [
    ...["-name", name, "-machine", "q35,memory-backend=mem", "-accel", useKvm ? "kvm" : "tcg"],
    ...["-object", `memory-backend-memfd,id=mem,size=${memory},share=on`],
    ...["-m", memory, "-smp", String(cpuCount), "-nodefaults", "-display", "none"],
    // One that has shut down stays until its host has seen it: there may be no process to tell.
    ...["-action", "shutdown=pause"],
    ...["-qmp", controlSocketOf(file("qmp.sock"))],
    ...["-chardev", consoleOf(optionOf(file("serial.sock")), optionOf(file("serial.log")))],
    ...["-serial", "chardev:console"],
    ...(boot.kind === "kernel"
      ? [
          ...["-kernel", boot.kernelPath, "-append", boot.commandLine],
          ...(boot.initrdPath === undefined ? [] : ["-initrd", boot.initrdPath]),
        ]
      : []),
    ...(firmwarePath === undefined ? [] : ["-bios", firmwarePath]),
    ...(hasAgent ? agentDevices(optionOf(file("agent.sock"))) : []),
    ...(hasWatchdog ? ["-device", "i6300esb", "-action", "watchdog=pause"] : []),
    ...disks.flatMap((disk, i) => {
      const [backend, device] = useVhost ? vhostDisk(disk, i) : nbdDisk(disk, i);
      // A kernel that is given comes before all disks, and wants their first place for itself.
      const order = boot.kind === "disk" ? `,bootindex=${i}` : "";
      return [...backend, "-device", `${device}${order}`];
    }),
    ...networks.flatMap((network, i) => [
      ...["-netdev", `${backendOf(network)},id=net${i}`],
      // Without the program to boot over the network, which QEMU may come without.
      ...["-device", `virtio-net-pci,netdev=net${i},mac=${network.mac},romfile=`],
    ]),
  ];
}

/** An argument that no other machine's process has. */
export function controlSocketOf(path: string): string {
  return `unix:${optionOf(path)},server=on,wait=off`;
}

/** What is printed is kept whether somebody is connected or not. */
function consoleOf(socket: string, log: string): string {
  return `socket,id=console,path=${socket},server=on,wait=off,logfile=${log},logappend=on`;
}

function agentDevices(socket: string): string[] {
  return [
    ...["-chardev", `socket,id=agent,path=${socket},server=on,wait=off`],
    ...["-device", "virtio-serial-pci"],
    ...["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
  ];
}

type DiskArguments = readonly [backend: readonly string[], device: string];

function vhostDisk({ vhostSocket }: VmDisk, i: number): DiskArguments {
  const backend = `socket,id=disk${i},path=${optionOf(vhostSocket)},reconnect=1`;
  return [["-chardev", backend], `vhost-user-blk-pci,chardev=disk${i}`];
}

function nbdDisk({ name, nbdSocket }: VmDisk, i: number): DiskArguments {
  const node = {
    driver: "nbd",
    "node-name": `disk${i}`,
    server: { type: "unix", path: nbdSocket },
    export: name,
    "reconnect-delay": NBD_RECONNECT_S,
    discard: "unmap",
  };
  return [["-blockdev", JSON.stringify(node)], `virtio-blk-pci,drive=disk${i}`];
}

function backendOf(network: VmNetwork): string {
  // Otherwise its NAT takes guests to the host's loopback, which is open to whoever is there.
  if (network.kind === "user") return "user,restrict=on";
  if (network.kind === "bridge") return `bridge,br=${network.interfaceName}`;
  return `tap,ifname=${network.interfaceName},script=no,downscript=no`;
}

/** A comma in a value is written twice. */
export function optionOf(value: string): string {
  return value.replaceAll(",", ",,");
}
