/** The shapes of what is asked and answered about virtual machines. */
import { TOLERATED_HOSTS_MAX, VM_ISOLATIONS, VM_STORAGE_LOSSES } from "../../cluster/index.ts";
import type { ObjectShape } from "../api/shape.ts";
import { choice, count, flag, list, may, must, text, volumeName } from "../api/shape-words.ts";
import type * as views from "../api/views.ts";

const VM_TYPE_LENGTH_MAX = 4096;

const vmDecisionShape: ObjectShape<views.VmDecisionView> = {
  kind: "object",
  description: "Something that was decided about the machine",
  fields: {
    timeMs: must(count("When, in milliseconds since 1970")),
    host: must(text("Who decided")),
    what: must(text("What")),
    because: must(text("Why")),
  },
};

const vmPriority = choice("Which machines are started first", [
  "highest",
  "high",
  "medium",
  "low",
  "lowest",
]);

const vmIsolation = choice(
  "What becomes of it when its host is cut off from the directory: it stands still until that is " +
    "back or it is another host's, is shut down, ended, or runs on (if it is not protected)",
  VM_ISOLATIONS,
);

const vmStorageLoss = choice(
  "What becomes of it when its host does not reach its objects and another one does",
  VM_STORAGE_LOSSES,
);

const vmWatchdog = choice(
  "A watchdog, which a guest's driver feeds: a guest that hangs is reset, 3 times an hour",
  ["on", "off"],
);

const vmAgent = choice(
  "A port for QEMU's guest agent: a guest whose agent has answered and does not any more is reset",
  ["on", "off"],
);

const vmFirmware = text(
  "The path of a firmware on every host, such as OVMF.fd; none: that of the hypervisor",
);

export const vmViewShape: ObjectShape<views.VmView> = {
  kind: "object",
  description: "A virtual machine",
  fields: {
    name: must(volumeName("Its name")),
    state: must(choice("What it does", ["running", "starting", "waiting", "stopping", "stopped"])),
    host: may(text("The host that runs it, or is about to")),
    cpuCount: must(count("Processors")),
    memoryBytes: must(count("Memory in bytes")),
    volumes: must(list("Its disks: names of volumes", volumeName("A volume"))),
    networks: must(list("What it is connected to", text("user, tap:NAME or bridge:NAME"))),
    isProtected: must(flag("Started on another host when its own has failed")),
    protection: must(
      choice("In force, wanted and not yet in force, or not wanted", [
        "protected",
        "pending",
        "unprotected",
      ]),
    ),
    priority: must(vmPriority),
    antiAffinity: may(text("A group whose machines are kept on different hosts")),
    hasWatchdog: may(flag("A guest that hangs is noticed and reset")),
    hasAgent: may(flag("A guest whose agent answers no more is reset")),
    firmware: may(text("The path of its firmware on every host")),
    isolation: must(vmIsolation),
    storageLoss: must(vmStorageLoss),
    failureCount: must(count("Starts in a row that failed")),
    waitsBecause: may(text("Why it does not run although it should")),
    movesTo: may(text("The host that it moves to at the moment")),
    epoch: must(count("Counts its placements")),
    history: must(list("What was decided and why, oldest first", vmDecisionShape)),
  },
};

const unreadableVmShape: ObjectShape<views.UnreadableVmView> = {
  kind: "object",
  description: "A machine whose record is damaged, or was written by a newer version",
  fields: { name: must(text("Its name")), reason: must(text("Why it cannot be read")) },
};

export const vmListShape: ObjectShape<views.VmList> = {
  kind: "object",
  description: "All virtual machines",
  fields: {
    vms: must(list("The machines, by name", vmViewShape)),
    unreadable: may(list("Those that nobody looks after, if there are any", unreadableVmShape)),
  },
};

const vmPlaceShape: ObjectShape<views.VmPlaceView> = {
  kind: "object",
  description: "A host on which the machine could run",
  fields: {
    host: must(text("Its name")),
    isAlive: must(flag("It looks after machines: its lease lives")),
    isAccessible: must(flag("It reaches all objects of the machine")),
    reason: may(text("Why it does not")),
    reaches: must(list("Hosts that it reaches over the storage network", text("A host"))),
  },
};

export const vmWhyShape: ObjectShape<views.VmWhyView> = {
  kind: "object",
  description: "Why a machine is where it is",
  fields: {
    vm: must(vmViewShape),
    master: may(text("The host that decides")),
    places: must(list("What each host says", vmPlaceShape)),
  },
};

export const vmCreateShape: ObjectShape<views.VmCreateRequest> = {
  kind: "object",
  description: "The new virtual machine",
  fields: {
    name: must(volumeName("A name that no other virtual machine has")),
    volumes: must(list("Its disks, the first one to boot from", volumeName("A volume"))),
    cpuCount: may({ kind: "integer", min: 1, max: 256, description: "Processors (1)" }),
    memoryBytes: may({
      kind: "integer",
      min: 16 << 20,
      max: 2 ** 42,
      description: "Memory in bytes (1 GiB)",
    }),
    kernel: may(text("A kernel's path on every host: it is booted instead of the first disk")),
    initrd: may(text("An initramfs for that kernel")),
    append: may(text("The kernel's command line")),
    networks: may(
      list(
        "What it is connected to (user: an address, and nobody to reach)",
        text("user, tap:NAME or bridge:NAME"),
      ),
    ),
    unprotected: may(flag("Do not start it elsewhere when its host has failed")),
    priority: may(vmPriority),
    antiAffinity: may(text("A group whose machines are kept on different hosts")),
    isolation: may(vmIsolation),
    storageLoss: may(vmStorageLoss),
    watchdog: may(vmWatchdog),
    agent: may(vmAgent),
    firmware: may(vmFirmware),
  },
};

const here = may(flag("Asked by another host: refused if the machine runs elsewhere"));

export const vmHereShape: ObjectShape<views.VmHereRequest> = {
  kind: "object",
  description: "A virtual machine that runs",
  fields: { name: must(volumeName("Its name")), here },
};

export const vmConsoleRequestShape: ObjectShape<views.VmConsoleRequest> = {
  kind: "object",
  description: "What of the console is wanted",
  fields: {
    name: must(volumeName("The machine's name")),
    from: may(count("Bytes of output to leave out; without it the last 64 KiB are answered")),
    follow: may(flag("For the command line, which asks again and again")),
    interactive: may(flag("For the command line, which types what is typed")),
    here,
  },
};

export const vmTypeShape: ObjectShape<views.VmTypeRequest> = {
  kind: "object",
  description: "What is typed on a machine's serial console",
  fields: {
    name: must(volumeName("The machine's name")),
    text: must({
      ...{ kind: "text", lengthMax: VM_TYPE_LENGTH_MAX, example: "ls" },
      description: "Characters, control characters among them",
    }),
    enter: may(flag("As if Enter were pressed afterwards")),
    here,
  },
};

export const vmConsoleShape: ObjectShape<views.VmConsoleView> = {
  kind: "object",
  description: "A part of what a machine has printed",
  fields: {
    name: must(volumeName("The machine")),
    host: must(text("The host that runs it")),
    epoch: must(count("Its placement; in another one the output counts from 0 again")),
    from: must(count("Bytes of output before this part")),
    next: must(count("Where what comes next begins")),
    text: must({ kind: "text", lengthMax: 64 * 1024, description: "The output" }),
  },
};

export const vmSetShape: ObjectShape<views.VmSetRequest> = {
  kind: "object",
  description: "What is to be different about a machine",
  fields: {
    name: must(volumeName("Its name")),
    priority: may(vmPriority),
    antiAffinity: may(text("A group whose machines are kept on different hosts, or none")),
    isolation: may(vmIsolation),
    storageLoss: may(vmStorageLoss),
    watchdog: may(vmWatchdog),
    agent: may(vmAgent),
    firmware: may(vmFirmware),
  },
};

export const vmMigrateShape: ObjectShape<views.VmMigrateRequest> = {
  kind: "object",
  description: "A running machine, and where it is to run",
  fields: {
    name: must(volumeName("Its name")),
    host: may(text("A host (the one with the most room)")),
    cancel: may(flag("Call off the move that is under way: the machine stays where it is")),
  },
};

const admission = choice("What happens to starts that would leave too little room", [
  "refuse",
  "warn",
  "off",
]);

export const haSetShape: ObjectShape<views.HaSetRequest> = {
  kind: "object",
  description: "What is to be different about high availability",
  fields: {
    toleratedHosts: may({
      kind: "integer",
      min: 0,
      max: TOLERATED_HOSTS_MAX,
      description: "Hosts that may fail at once with room left for all protected machines",
    }),
    admission: may(admission),
  },
};

const haRoomShape: ObjectShape<views.HaRoomView> = {
  kind: "object",
  description: "What a host has for machines",
  fields: {
    host: must(text("The host")),
    memoryBytes: must(count("Memory")),
    cpuCount: must(count("Processors")),
  },
};

export const haShape: ObjectShape<views.HaView> = {
  kind: "object",
  description: "High availability of virtual machines",
  fields: {
    isArmed: must(flag("Machines of failed hosts are started elsewhere")),
    toleratedHosts: must(count("Hosts that may fail at once")),
    admission: must(admission),
    master: may(text("The host that decides")),
    hosts: must(list("Hosts that look after machines", text("A host"))),
    rooms: must(list("What each of them has for all machines together", haRoomShape)),
    problem: may(text("What is lacking for so many hosts to fail")),
    unaware: may(list("Hosts that have not said that they know that it is armed", text("A host"))),
  },
};
