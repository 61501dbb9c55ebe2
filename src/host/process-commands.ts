/**
 * Commands that start a process instead of asking one. They share help, parsing and docs with the
 * operations.
 */
import type { Command, CommandOption } from "./command.ts";

export type ProcessCommandName =
  | "dev"
  | "dev.kill"
  | "dev.stop"
  | "dev.start"
  | "dev.partition"
  | "dev.heal"
  | "host.run"
  | "support-bundle"
  | "volume.export"
  | "volume.import"
  | "init"
  | "join";

/** Of the commands that set up a host. */
const HOST_OPTIONS: readonly CommandOption[] = [
  {
    name: "address",
    field: "address",
    kind: "text",
    argument: "ADDRESS",
    summary: "The address of this host, where the others reach it",
    isRequired: true,
  },
  {
    name: "device",
    field: "devices",
    kind: "path",
    argument: "PATH",
    summary: "A disk or an empty directory for the cluster; may be repeated",
    isList: true,
    isRequired: true,
  },
  {
    name: "name",
    field: "name",
    kind: "text",
    argument: "NAME",
    summary: "The host's name (the machine's)",
  },
  {
    name: "dir",
    field: "dir",
    kind: "path",
    argument: "DIR",
    summary: "Where configuration, certificates and state are kept (/var/lib/drystone)",
  },
  {
    name: "port",
    field: "port",
    kind: "count",
    argument: "PORT",
    summary:
      "Port of the API (7400); the four above it are for storage, directory and the other hosts",
  },
  {
    name: "storage-address",
    field: "storageAddress",
    kind: "text",
    argument: "ADDRESS",
    summary: "The address on the storage network, if there is one (--address)",
  },
  {
    name: "fault-domain",
    field: "faultDomain",
    kind: "text",
    argument: "NAME",
    summary: "What fails together with this host (nothing else)",
  },
  {
    name: "device-size",
    field: "deviceSizeBytes",
    kind: "size",
    argument: "SIZE",
    summary: "Size of new devices in directories (free space)",
  },
  {
    name: "key-file",
    field: "keyFile",
    kind: "path",
    argument: "FILE",
    summary: "The cluster key, for encrypted volumes; better on other media (DIR/cluster.key)",
  },
];

const DIR_OPTION: CommandOption = {
  name: "dir",
  field: "dir",
  kind: "path",
  argument: "DIR",
  summary: "The folder of the development cluster (./.drystone-dev)",
};

export const processCommands: Readonly<Record<ProcessCommandName, Command>> = {
  dev: {
    words: ["dev"],
    summary: "Run a development cluster in the foreground, with a volume ready to use",
    examples: [
      { line: "drystone dev", why: "three hosts in ./.drystone-dev, a mirrored volume named demo" },
      { line: "drystone dev --hosts 1", why: "one host alone" },
      { line: "drystone dev --dir /var/tmp/d1 --api-port 7500", why: "elsewhere" },
      { line: "drystone dev --json", why: "one JSON object when it is ready, for scripts" },
    ],
    positionals: [],
    options: [
      {
        name: "hosts",
        field: "hosts",
        kind: "count",
        argument: "N",
        summary: "Hosts to run (3)",
      },
      {
        name: "dir",
        field: "dir",
        kind: "path",
        argument: "DIR",
        summary: "Where everything is kept; kept between runs (./.drystone-dev)",
      },
      {
        name: "api-port",
        field: "apiPort",
        kind: "count",
        argument: "PORT",
        summary: "Port of the first API (7400); others and storage use the ports above it",
      },
      {
        name: "directory",
        field: "directory",
        kind: "text",
        argument: "KIND",
        summary: "embedded (default), or etcd: three members, which must be installed",
      },
      {
        name: "device-size",
        field: "deviceSizeBytes",
        kind: "size",
        argument: "SIZE",
        summary: "Size of a new device (what the file system has free, at most 64G)",
      },
      {
        name: "guest",
        field: "guest",
        kind: "path",
        argument: "FOLDER",
        summary: "Run a virtual machine, too; FOLDER has its kernel and initramfs (npm start does)",
      },
      {
        name: "tour",
        field: "tour",
        kind: "flag",
        summary: "Take the power of the machine's host, check what happens, and stop",
      },
    ],
  },
  "dev.kill": {
    words: ["dev", "kill"],
    summary: "End a host of the development cluster as if it had lost power",
    examples: [
      { line: "drystone dev kill h1", why: "with the virtual machines that it runs" },
      { line: "drystone dev kill h1 --process-only", why: "machines run on without their host" },
    ],
    positionals: ["name"],
    options: [
      {
        name: "process-only",
        field: "processOnly",
        kind: "flag",
        summary: "Only the host process, with SIGKILL",
      },
      DIR_OPTION,
    ],
  },
  "dev.stop": {
    words: ["dev", "stop"],
    summary: "Stop a host of the development cluster cleanly",
    examples: [{ line: "drystone dev stop h1", why: "as for maintenance" }],
    positionals: ["name"],
    options: [DIR_OPTION],
  },
  "dev.start": {
    words: ["dev", "start"],
    summary: "Start a host of the development cluster that was killed or stopped",
    examples: [{ line: "drystone dev start h1", why: "it catches up by itself" }],
    positionals: ["name"],
    options: [DIR_OPTION],
  },
  "dev.partition": {
    words: ["dev", "partition"],
    summary: "Cut hosts of the development cluster off the others, until dev heal",
    examples: [
      {
        line: "drystone dev partition --network storage h1",
        why: "h1 on one side, the rest on the other",
      },
      {
        line: "drystone dev partition h1 h2",
        why: "both networks; the directory stays with the rest",
      },
    ],
    positionals: ["hosts..."],
    options: [
      {
        name: "network",
        field: "network",
        kind: "text",
        argument: "NETWORK",
        summary: "storage, management (with the way to the directory), or both (default)",
      },
      DIR_OPTION,
    ],
  },
  "dev.heal": {
    words: ["dev", "heal"],
    summary: "Make all networks of the development cluster whole again",
    examples: [{ line: "drystone dev heal", why: "after dev partition" }],
    positionals: [],
    options: [DIR_OPTION],
  },
  init: {
    words: ["init"],
    summary: "Make a cluster: its authority, and this machine as its first host",
    examples: [
      {
        line: "drystone init --address 10.0.0.1 --device /dev/sdb",
        why: "this host keeps the directory",
      },
      {
        line: "drystone init --address 10.0.0.1 --device /dev/sdb --directory etcd",
        why: "members of etcd keep it, which run on the first three hosts",
      },
      {
        line: "drystone init --address 10.0.0.1 --device /dev/sdb --directory https://10.0.0.9:2379",
        why: "an etcd that exists keeps it",
      },
    ],
    positionals: [],
    options: [
      ...HOST_OPTIONS,
      {
        name: "directory",
        field: "directory",
        kind: "text",
        argument: "URLS",
        summary:
          "etcd: members that the first three hosts run; or URLs with commas between of one that exists (default: this host keeps the directory)",
      },
    ],
  },
  join: {
    words: ["join"],
    summary: "Make this machine a host of a cluster",
    examples: [
      {
        line: "drystone join 10.0.0.1:7400 --token drystone-AbC --address 10.0.0.2 --device /dev/sdb",
        why: "with what drystone token create printed",
      },
    ],
    positionals: ["cluster"],
    options: [
      {
        name: "token",
        field: "token",
        kind: "text",
        argument: "TOKEN",
        summary: "From drystone token create; good once",
        isRequired: true,
      },
      ...HOST_OPTIONS,
    ],
  },
  "volume.export": {
    words: ["volume", "export"],
    summary: "Write a volume, or what changed in it since a snapshot, as a checked stream",
    examples: [
      { line: "drystone volume export web1 --output web1.dsv", why: "as it is now" },
      { line: "drystone volume export web1@monday --output web1.dsv", why: "as it was" },
      {
        line: "drystone volume export web1@tuesday --since monday --output d.dsv",
        why: "only what changed between the two",
      },
    ],
    positionals: ["name"],
    options: [
      {
        name: "snapshot",
        field: "snapshot",
        kind: "text",
        argument: "SNAPSHOT",
        summary: "Which one (one that is taken for it)",
      },
      {
        name: "since",
        field: "since",
        kind: "text",
        argument: "SNAPSHOT",
        summary: "Only what changed since this older one",
      },
      {
        name: "output",
        field: "output",
        kind: "path",
        argument: "FILE",
        summary: "A new file (standard output)",
      },
    ],
  },
  "volume.import": {
    words: ["volume", "import"],
    summary: "Make a volume of an exported stream; one that is damaged or cut leaves nothing",
    examples: [
      { line: "drystone volume import web2 --input web1.dsv", why: "of a whole export" },
      {
        line: "drystone volume import web3 --input d.dsv --base web2@monday",
        why: "of changes; web2@monday holds what was there before",
      },
    ],
    positionals: ["name"],
    options: [
      {
        name: "input",
        field: "input",
        kind: "path",
        argument: "FILE",
        summary: "The stream (standard input)",
      },
      {
        name: "base",
        field: "base",
        kind: "text",
        argument: "VOLUME@SNAPSHOT",
        summary: "For changes: what holds the rest here",
      },
      {
        name: "failures-to-tolerate",
        field: "failuresToTolerate",
        kind: "count",
        argument: "N",
        summary: "Host failures to survive (1; 0 if there is one host); of changes, as their base",
      },
      {
        name: "encrypted",
        field: "encrypted",
        kind: "flag",
        summary: "Encrypt it at rest; changes are encrypted as their base is",
      },
      {
        name: "key-domain",
        field: "keyDomain",
        kind: "text",
        argument: "DOMAIN",
        summary: "Whose key encrypts it (default)",
      },
    ],
  },
  "support-bundle": {
    words: ["support-bundle"],
    summary: "Write what the cluster tells about itself into one file, without secrets",
    examples: [
      { line: "drystone support-bundle", why: "drystone-support-TIME.json.gz here" },
      { line: "drystone support-bundle --output /tmp/bundle.json.gz", why: "there" },
    ],
    positionals: [],
    options: [
      {
        name: "output",
        field: "output",
        kind: "path",
        argument: "FILE",
        summary: "The file, which must not exist yet",
      },
    ],
  },
  "host.run": {
    words: ["host", "run"],
    summary: "Run one host in the foreground (what systemd starts)",
    examples: [
      { line: "drystone host run --config /etc/drystone/host.json", why: "until SIGTERM" },
      {
        line: "drystone host run --config host.json --wipe /dev/sdb",
        why: "take a disk that holds other data",
      },
    ],
    positionals: [],
    options: [
      {
        name: "config",
        field: "config",
        kind: "path",
        argument: "FILE",
        summary: "Its configuration, JSON",
        isRequired: true,
      },
      {
        name: "wipe",
        field: "wipe",
        kind: "path",
        argument: "DEVICE",
        summary:
          "Take this device although it holds something else, which is lost; may be repeated",
        isList: true,
      },
    ],
  },
};
