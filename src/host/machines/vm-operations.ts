/** The rows of the operation table that are about virtual machines. */
import type { CommandOption } from "../command.ts";
import type { OperationTable } from "../api/operations.ts";
import * as shapes from "../api/view-shapes.ts";
import {
  vmConsoleRequestShape,
  vmConsoleShape,
  vmCreateShape,
  vmHereShape,
  vmSetShape,
  vmListShape,
  vmMigrateShape,
  vmTypeShape,
  vmViewShape,
  vmWhyShape,
} from "./vm-shapes.ts";

type VmOperation =
  | "vm.create"
  | "vm.list"
  | "vm.show"
  | "vm.start"
  | "vm.stop"
  | "vm.kill"
  | "vm.delete"
  | "vm.set"
  | "vm.migrate"
  | "vm.protect"
  | "vm.unprotect"
  | "vm.why"
  | "vm.console"
  | "vm.type"
  | "vm.reset";

const PLACEMENT_OPTIONS: readonly CommandOption[] = [
  {
    name: "priority",
    field: "priority",
    kind: "text",
    argument: "LEVEL",
    summary: "highest, high, medium (default), low or lowest: who is started first",
  },
  {
    name: "anti-affinity",
    field: "antiAffinity",
    kind: "text",
    argument: "GROUP",
    summary: "Keep it on another host than the others of this group, as far as there are enough",
  },
  {
    name: "watchdog",
    field: "watchdog",
    kind: "text",
    argument: "ON",
    summary:
      "on: a guest that feeds the watchdog (i6300esb) and then hangs is reset; off (default)",
  },
  {
    name: "agent",
    field: "agent",
    kind: "text",
    argument: "ON",
    summary:
      "on: a guest whose agent (qemu-guest-agent) has answered and does not for 30 s is reset; off",
  },
  {
    name: "firmware",
    field: "firmware",
    kind: "text",
    argument: "FILE",
    summary: "Its firmware, such as OVMF.fd for UEFI, the same path on every host; none: SeaBIOS",
  },
  {
    name: "isolation",
    field: "isolation",
    kind: "text",
    argument: "WHAT",
    summary: "When its host is cut off: stand-still (default), shut-down, power-off or leave",
  },
  {
    name: "storage-loss",
    field: "storageLoss",
    kind: "text",
    argument: "WHAT",
    summary:
      "When its host reaches its disks no more and another one does: move (default) or leave",
  },
];

type OnOne = "vm.start" | "vm.stop" | "vm.kill" | "vm.protect" | "vm.unprotect";

function onOne<N extends OnOne>(
  name: N,
  word: string,
  summary: string,
  why: string,
): {
  readonly name: N;
  readonly words: readonly string[];
  readonly summary: string;
  readonly examples: readonly { readonly line: string; readonly why: string }[];
  readonly positionals: readonly string[];
  readonly options: readonly [];
  readonly method: "POST";
  readonly path: string;
  readonly scope: "cluster";
  readonly role: "operator";
  readonly request: typeof shapes.nameRequestShape;
  readonly response: typeof vmViewShape;
  readonly errors: readonly string[];
} {
  return {
    name,
    words: ["vm", word],
    summary,
    examples: [{ line: `drystone vm ${word} web1`, why }],
    positionals: ["name"],
    options: [],
    method: "POST",
    path: `/v1/vms/:name/${word}`,
    scope: "cluster",
    role: "operator",
    request: shapes.nameRequestShape,
    response: vmViewShape,
    errors: ["vm-not-found", "vm-invalid", "vm-contended", "admission-refused"],
  };
}

export const vmOperations: Pick<OperationTable, VmOperation> = {
  "vm.create": {
    name: "vm.create",
    words: ["vm", "create"],
    summary: "Define a virtual machine whose disks are volumes; it is started by `vm start`",
    examples: [
      { line: "drystone vm create web1 --volume web1 --memory 2G", why: "boots from the volume" },
      {
        line: "drystone vm create t1 --volume t1 --kernel /boot/vmlinuz --append 'root=/dev/vda'",
        why: "boots a kernel of the host",
      },
    ],
    positionals: ["name"],
    options: [
      {
        name: "volume",
        field: "volumes",
        kind: "text",
        argument: "VOLUME",
        summary: "A disk; may be given more than once",
        isList: true,
      },
      { name: "cpus", field: "cpuCount", kind: "count", argument: "N", summary: "Processors (1)" },
      {
        name: "memory",
        field: "memoryBytes",
        kind: "size",
        argument: "SIZE",
        summary: "Memory (1G)",
      },
      {
        name: "kernel",
        field: "kernel",
        kind: "path",
        argument: "FILE",
        summary: "A kernel, the same file on every host; without it the first disk is booted",
      },
      { name: "initrd", field: "initrd", kind: "path", argument: "FILE", summary: "Its initramfs" },
      {
        name: "append",
        field: "append",
        kind: "text",
        argument: "TEXT",
        summary: "Its command line",
      },
      {
        name: "network",
        field: "networks",
        kind: "text",
        argument: "NETWORK",
        summary: "user, tap:NAME or bridge:NAME, on every host; may be given more than once",
        isList: true,
      },
      {
        name: "unprotected",
        field: "unprotected",
        kind: "flag",
        summary: "Do not start it elsewhere when its host has failed",
      },
      ...PLACEMENT_OPTIONS,
    ],
    method: "POST",
    path: "/v1/vms",
    scope: "cluster",
    role: "operator",
    request: vmCreateShape,
    response: vmViewShape,
    errors: [
      "vm-name-invalid",
      "vm-invalid",
      "boot-file-refused",
      "vm-exists",
      "volume-not-found",
      "volume-of-vm",
      "vm-contended",
    ],
  },
  "vm.list": {
    name: "vm.list",
    words: ["vm", "list"],
    summary: "List the virtual machines",
    examples: [{ line: "drystone vm list", why: "every machine on a line" }],
    positionals: [],
    options: [],
    method: "GET",
    path: "/v1/vms",
    scope: "cluster",
    role: "viewer",
    request: shapes.nothingShape,
    response: vmListShape,
    errors: [],
  },
  "vm.show": {
    name: "vm.show",
    words: ["vm", "show"],
    summary: "Show a virtual machine, and what was decided about it and why",
    examples: [{ line: "drystone vm show web1", why: "where does it run, and why there?" }],
    positionals: ["name"],
    options: [],
    method: "GET",
    path: "/v1/vms/:name",
    scope: "cluster",
    role: "viewer",
    request: shapes.nameRequestShape,
    response: vmViewShape,
    errors: ["vm-not-found"],
  },
  "vm.start": onOne("vm.start", "start", "Start a virtual machine", "on a host with room"),
  "vm.stop": onOne(
    "vm.stop",
    "stop",
    "Ask the guest of a virtual machine to shut down",
    "ended after a minute if it does not",
  ),
  "vm.kill": onOne("vm.kill", "kill", "End a virtual machine at once", "as if its power were cut"),
  "vm.delete": {
    name: "vm.delete",
    words: ["vm", "delete"],
    summary: "Delete the definition of a stopped virtual machine; its volumes stay",
    examples: [{ line: "drystone vm delete web1", why: "keeps its volumes" }],
    positionals: ["name"],
    options: [],
    method: "DELETE",
    path: "/v1/vms/:name",
    scope: "cluster",
    role: "operator",
    request: shapes.nameRequestShape,
    response: shapes.doneShape,
    errors: ["vm-not-found", "vm-running", "vm-contended"],
  },
  "vm.set": {
    name: "vm.set",
    words: ["vm", "set"],
    summary: "Change how a virtual machine is placed, and what becomes of it when something fails",
    examples: [
      { line: "drystone vm set db1 --priority high --anti-affinity db", why: "before most others" },
      { line: "drystone vm set db1 --anti-affinity none", why: "anywhere again" },
      { line: "drystone vm set db1 --isolation shut-down", why: "if its host is cut off" },
    ],
    positionals: ["name"],
    needsAnOption: true,
    options: PLACEMENT_OPTIONS,
    method: "POST",
    path: "/v1/vms/:name/set",
    scope: "cluster",
    role: "operator",
    request: vmSetShape,
    response: vmViewShape,
    errors: ["vm-not-found", "vm-invalid", "boot-file-refused", "vm-running", "vm-contended"],
  },
  "vm.migrate": {
    name: "vm.migrate",
    words: ["vm", "migrate"],
    summary: "Move a running virtual machine to another host without its guest noticing",
    examples: [
      { line: "drystone vm migrate web1", why: "to the host with the most room" },
      { line: "drystone vm migrate web1 --host h2", why: "to a certain one" },
      { line: "drystone vm migrate web1 --cancel", why: "not after all" },
    ],
    positionals: ["name"],
    options: [
      {
        name: "host",
        field: "host",
        kind: "text",
        argument: "HOST",
        summary: "Where it is to run (the host with the most room)",
      },
      {
        name: "cancel",
        field: "cancel",
        kind: "flag",
        summary: "Call off the move that is under way: the machine stays where it is",
      },
    ],
    method: "POST",
    path: "/v1/vms/:name/migrate",
    scope: "cluster",
    role: "operator",
    request: vmMigrateShape,
    response: vmViewShape,
    errors: ["vm-not-found", "vm-runs-not", "vm-migration-refused", "host-unknown", "vm-contended"],
  },
  "vm.protect": onOne(
    "vm.protect",
    "protect",
    "Have a virtual machine started elsewhere when its host has failed",
    "in force once it is written into the machine's home in the object store",
  ),
  "vm.unprotect": onOne(
    "vm.unprotect",
    "unprotect",
    "Leave a virtual machine where it is when its host fails",
    "it stays down until that host is back",
  ),
  "vm.why": {
    name: "vm.why",
    words: ["why", "vm"],
    summary: "Tell why a virtual machine is where it is, or why it does not run",
    examples: [{ line: "drystone why vm web1", why: "every host's view, and each decision" }],
    positionals: ["name"],
    options: [],
    method: "GET",
    path: "/v1/vms/:name/why",
    scope: "cluster",
    role: "viewer",
    request: shapes.nameRequestShape,
    response: vmWhyShape,
    errors: ["vm-not-found"],
  },
  "vm.console": {
    name: "vm.console",
    words: ["vm", "console"],
    summary: "Print what a virtual machine has printed on its serial console",
    examples: [
      { line: "drystone vm console web1", why: "the last of it, from whichever host runs it" },
      { line: "drystone vm console web1 --follow", why: "and on, wherever it is started next" },
      { line: "drystone vm console web1 --interactive", why: "and type; Ctrl-] leaves it" },
    ],
    positionals: ["name"],
    options: [
      { name: "follow", field: "follow", kind: "flag", summary: "Keep printing until Ctrl-C" },
      {
        name: "interactive",
        field: "interactive",
        kind: "flag",
        summary: "Keep printing, and type what is typed, until Ctrl-]; needs the right to operate",
      },
      {
        name: "from",
        field: "from",
        kind: "count",
        argument: "BYTE",
        summary: "Begin there instead of near the end",
      },
    ],
    method: "GET",
    path: "/v1/vms/:name/console",
    scope: "cluster",
    role: "viewer",
    request: vmConsoleRequestShape,
    response: vmConsoleShape,
    errors: ["vm-not-found", "vm-runs-not", "host-unknown", "connection-failed"],
  },
  "vm.type": {
    name: "vm.type",
    words: ["vm", "type"],
    summary: "Type on a virtual machine's serial console",
    examples: [
      { line: "drystone vm type web1 root --enter", why: "a name to log in with" },
      { line: "drystone vm type web1 ls --enter", why: "see vm console for what comes of it" },
    ],
    positionals: ["name", "text"],
    options: [{ name: "enter", field: "enter", kind: "flag", summary: "And press Enter" }],
    method: "POST",
    path: "/v1/vms/:name/type",
    scope: "cluster",
    role: "operator",
    request: vmTypeShape,
    response: shapes.doneShape,
    errors: ["vm-not-found", "vm-runs-not", "vm-unreachable", "host-unknown", "connection-failed"],
  },
  "vm.reset": {
    name: "vm.reset",
    words: ["vm", "reset"],
    summary: "Reset a virtual machine, as if its reset button were pressed",
    examples: [{ line: "drystone vm reset web1", why: "its guest does not answer any more" }],
    positionals: ["name"],
    options: [],
    method: "POST",
    path: "/v1/vms/:name/reset",
    scope: "cluster",
    role: "operator",
    request: vmHereShape,
    response: shapes.doneShape,
    errors: ["vm-not-found", "vm-runs-not", "vm-unreachable", "host-unknown", "connection-failed"],
  },
};
