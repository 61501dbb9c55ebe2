/**
 * Commands that start a process instead of asking one. They share help, parsing and docs with the
 * operations.
 */
import type { Command } from "./command.ts";

export type ProcessCommandName = "dev" | "host.run";

export const processCommands: Readonly<Record<ProcessCommandName, Command>> = {
  dev: {
    words: ["dev"],
    summary: "Run a development host in the foreground, with a volume ready to use",
    examples: [
      { line: "drystone dev", why: "a host in ./.drystone-dev, with a volume named demo" },
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
        summary: "Hosts to run (1 for now)",
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
        summary: "Port of the API (7400)",
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
