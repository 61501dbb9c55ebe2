/** Answers about virtual machines and high availability, as people read them. */
import { formatSize, shellWord } from "../base/index.ts";
import type {
  HaView,
  OperationName,
  ResponseOf,
  VmList,
  VmView,
  VmWhyView,
} from "../host/index.ts";
import { facts, table } from "./blocks.ts";
import type { Output } from "./output.ts";

type VmOperation = Extract<OperationName, `vm.${string}` | `ha.${string}`>;

type VmRenderers = {
  readonly [N in VmOperation]: (answer: ResponseOf<N>, output: Output) => string[];
};

export const vmRenderers: VmRenderers = {
  "vm.create": (vm) => [`defined ${vm.name}`, `  next: drystone vm start ${shellWord(vm.name)}`],
  "vm.list": renderVms,
  "vm.show": renderVm,
  "vm.start": (vm) => [`${vm.name} is to run`, `  see: drystone vm show ${shellWord(vm.name)}`],
  "vm.stop": (vm) => [`${vm.name} is asked to shut down`],
  "vm.kill": (vm) => [`${vm.name} is ended`],
  "vm.set": renderVm,
  "vm.migrate": ({ name, movesTo = "another host" }) => [
    `${name} is moving to ${movesTo}`,
    `  see: drystone vm show ${shellWord(name)}`,
  ],
  "ha.show": renderHa,
  "ha.set": renderHa,
  "ha.arm": renderHa,
  "ha.disarm": renderHa,
  "vm.protect": (vm) => [
    vm.isProtected
      ? `${vm.name} is protected`
      : `${vm.name} is to be protected\n  see: drystone vm show ${shellWord(vm.name)}`,
  ],
  "vm.unprotect": (vm) => [`${vm.name} stays down with its host from now on`],
  "vm.why": renderWhy,
  "vm.console": ({ text }) => (text === "" ? [] : [text.replace(/\r?\n$/, "")]),
  "vm.type": () => ["typed"],
  "vm.reset": () => ["reset"],
  "vm.delete": () => ["deleted; its volumes are still there"],
};

function renderHa({
  isArmed,
  toleratedHosts,
  admission,
  master,
  hosts,
  problem,
}: HaView): string[] {
  const doIt = "drystone ha arm, when the work is done";
  return facts([
    ["armed", isArmed ? "yes" : `no: machines of failed hosts stay down (${doIt})`],
    ["on duty", hosts.length === 0 ? "no host: there are no machines" : hosts.join(", ")],
    ["decides", master ?? "nobody"],
    ["hosts may fail", String(toleratedHosts)],
    ["otherwise", admission],
    ["room for that", problem === undefined ? "yes" : `no: ${problem}`],
  ]);
}

const PROTECTION: Readonly<Record<VmView["protection"], string>> = {
  protected: "yes",
  pending: "not yet: it is not written into its home in the object store",
  unprotected: "no: it stays down with its host",
};

function renderWhy({ vm, master, places }: VmWhyView, output: Output): string[] {
  const rows = places.map(({ host, isAlive, isAccessible, reason = "", reaches }) => [
    host,
    isAlive ? "yes" : "no",
    isAccessible ? "yes" : `no: ${reason}`,
    reaches.join(", "),
  ]);
  return [
    ...renderVm(vm),
    "",
    master === undefined ? "nobody decides at the moment" : `${master} decides`,
    "",
    ...table(output, ["HOST", "ON DUTY", "REACHES ITS OBJECTS", "REACHES"], rows),
  ];
}

const ISOLATION: Readonly<Record<VmView["isolation"], string>> = {
  "stand-still": "stands still, and ends where it is another host's",
  "shut-down": "is shut down",
  "power-off": "is ended",
  leave: "runs on",
};

const STORAGE_LOSS: Readonly<Record<VmView["storageLoss"], string>> = {
  move: "starts where they are",
  leave: "waits for them",
};

function renderVms({ vms, unreadable = [] }: VmList, output: Output): string[] {
  if (vms.length + unreadable.length === 0)
    return ["no virtual machines yet", "  next: drystone vm create NAME --volume VOLUME"];
  const rows = vms.map((vm) => [
    vm.name,
    vm.state,
    vm.host ?? "",
    String(vm.cpuCount),
    formatSize(vm.memoryBytes),
    vm.isProtected ? "yes" : "no",
    vm.volumes.join(", "),
  ]);
  const headings = ["NAME", "STATE", "HOST", "CPUS>", "MEMORY>", "PROTECTED", "VOLUMES"];
  const lines = unreadable.map(({ name, reason }) => `${name} is not looked after: ${reason}`);
  return [...table(output, headings, rows), ...lines];
}

function renderVm(vm: VmView): string[] {
  const time = (timeMs: number): string =>
    new Date(timeMs).toISOString().replace("T", " ").slice(0, 19);
  return [
    ...facts([
      ["name", vm.name],
      ["state", vm.host === undefined ? vm.state : `${vm.state} on ${vm.host}`],
      ...(vm.movesTo === undefined ? [] : [["moves to", vm.movesTo] as const]),
      ["processors", String(vm.cpuCount)],
      ["memory", formatSize(vm.memoryBytes)],
      ["volumes", vm.volumes.join(", ")],
      ...(vm.networks.length === 0 ? [] : [["networks", vm.networks.join(", ")] as const]),
      ["protected", PROTECTION[vm.protection]],
      ["priority", vm.priority],
      ...(vm.antiAffinity === undefined ? [] : [["kept apart from", vm.antiAffinity] as const]),
      ["watchdog", vm.hasWatchdog === true ? "a guest that hangs is reset" : "none"],
      ["agent", vm.hasAgent === true ? "a guest whose agent falls silent is reset" : "not asked"],
      ...(vm.firmware === undefined ? [] : [["firmware", vm.firmware] as const]),
      ["if its host is cut off", ISOLATION[vm.isolation]],
      ["if its disks are lost there", STORAGE_LOSS[vm.storageLoss]],
      ...(vm.failureCount === 0 ? [] : [["failed starts", String(vm.failureCount)] as const]),
      ...(vm.waitsBecause === undefined ? [] : [["waits", vm.waitsBecause] as const]),
      ["placements", String(vm.epoch)],
    ]),
    ...(vm.history.length === 0 ? [] : ["", "what was decided, by whom and why"]),
    ...vm.history.map(
      ({ timeMs, host, what, because }) =>
        `  ${time(timeMs)}  ${host}: ${what}, because ${because}`,
    ),
  ];
}
