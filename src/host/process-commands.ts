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
  | "host.run";

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
    ],
  },
  "dev.kill": {
    words: ["dev", "kill"],
    summary: "End a host of the development cluster with SIGKILL",
    examples: [{ line: "drystone dev kill h1", why: "as if it had lost power" }],
    positionals: ["name"],
    options: [DIR_OPTION],
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
        summary: "storage, management (the way to the directory), or both (default)",
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
