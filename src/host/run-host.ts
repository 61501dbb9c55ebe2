/** `drystone host run`: one host from its configuration file; what systemd starts. */
import { JsonLog } from "../platform/index.ts";
import { devControl } from "./dev/dev-control.ts";
import { runForeground } from "./foreground.ts";
import { readHostConfig } from "./host-config.ts";
import type { HostProcess } from "./host-process.ts";
import { openService } from "./service.ts";
import type { StatusView } from "./api/views.ts";

export interface RunHostOptions {
  readonly config: string;
  readonly wipe: readonly string[];
  readonly isJson: boolean;
}

export async function runHost({ config: file, wipe, isJson }: RunHostOptions): Promise<number> {
  const config = readHostConfig(file);
  const control = await devControl();
  const log = new JsonLog(process.stderr);
  const service = openService({ environment: process.env, pid: process.pid, log });
  return await runForeground({
    config,
    wipe,
    log,
    stopping: () => service.stopping(),
    ...(control === undefined ? {} : { cut: control.cut }),
    ready: async (host) => {
      control?.onCut((addresses) => host.cutOff(addresses));
      const status = await host.handlers.status({});
      service.ready(`${status.health}, API ${host.apiUrl}`, () => host.ping());
      process.stdout.write(
        isJson ? `${JSON.stringify(readyObject(host, status))}\n` : readyLine(host, status),
      );
    },
    message: (text) => void process.stderr.write(`drystone: ${text}\n`),
  });
}

export interface ReadyObject {
  readonly ready: true;
  readonly host: string;
  readonly api: string;
  readonly health: string;
  readonly devices: readonly string[];
  readonly attachments: readonly { readonly volume: string; readonly uri: string }[];
}

export function readyObject(host: HostProcess, status: StatusView): ReadyObject {
  return {
    ready: true,
    host: ownName(host, status),
    api: host.apiUrl,
    health: status.health,
    devices: status.devices.map(({ path }) => path),
    attachments: status.attachments.map(({ volume, uri }) => ({ volume, uri })),
  };
}

/** The hosts of a cluster are listed in any order. */
function ownName(host: HostProcess, { hosts }: StatusView): string {
  return hosts.find(({ hostId }) => hostId === host.state.identity.hostId)?.name ?? "";
}

function readyLine(host: HostProcess, status: StatusView): string {
  const { devices, attachments, health } = status;
  const name = ownName(host, status);
  return `drystone: host ${name} is ready (${health}), API ${host.apiUrl}, ${devices.length} devices, ${attachments.length} volumes attached\n`;
}
