/**
 * `drystone dev`: a host to try things on. Everything is in one folder and stays there between
 * runs, so the
 * second start finds the volumes of the first. A volume named `demo` is made and attached once.
 */
import { createWriteStream, existsSync, renameSync } from "node:fs";
import { statSync, statfsSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CodedError, shellWord } from "../../base/index.ts";
import { JsonLog } from "../../platform/index.ts";
import { makeDevFolder } from "./dev-folder.ts";
import { devKeyFile } from "./dev-keys.ts";
import { runForeground } from "../foreground.ts";
import { BOOT_FOLDERS_DEFAULT, MEMORY_BYTES_DEFAULT } from "../host-config.ts";
import type { HostConfig } from "../host-config.ts";
import type { HostProcess } from "../host-process.ts";
import { parseAddress } from "../names.ts";
import { readyObject } from "../run-host.ts";
import type { AttachmentView } from "../api/views.ts";

const API_PORT_DEFAULT = 7400;
const DIR_DEFAULT = ".drystone-dev";
const DEVICE_SIZE_BYTES_MAX = 64 * 2 ** 30;
const DEMO_SIZE_BYTES = 10 * 2 ** 30;
const LOG_BYTES_MAX = 16 * 2 ** 20;

export interface DevHostOptions {
  readonly hosts?: number;
  readonly dir?: string;
  readonly apiPort?: number;
  readonly deviceSizeBytes?: number;
  readonly isJson: boolean;
}

export async function runDevHost(options: DevHostOptions): Promise<number> {
  checkOptions(options);
  const folder = resolve(options.dir ?? DIR_DEFAULT);
  const socket = join(folder, "demo.sock");
  parseAddress(socket); // Refuses a path that is too long for a socket before anything is made.
  makeDevFolder(folder, "h1");
  const logFile = join(folder, "host.log");
  keepLogShort(logFile);
  const logStream = createWriteStream(logFile, { flags: "a" });
  const message = (text: string): void => void process.stderr.write(`drystone: ${text}\n`);
  return await runForeground({
    config: devConfig(folder, options),
    wipe: [],
    log: new JsonLog(logStream),
    ready: (host) => announce(host, { folder, socket, logFile, isJson: options.isJson }),
    message: options.isJson ? () => undefined : message,
  });
}

function checkOptions({ hosts, apiPort }: DevHostOptions): void {
  if (hosts !== undefined && hosts !== 1) {
    throw new CodedError({
      code: "not-supported",
      message: `drystone dev runs one host for now, not ${hosts}`,
      hint: "Run: drystone dev --hosts 1",
    });
  }
  if (apiPort !== undefined && apiPort > 65_535) {
    throw new CodedError({
      code: "usage",
      message: `--api-port is ${apiPort}, the most is 65535`,
      hint: `For example: --api-port ${API_PORT_DEFAULT}`,
    });
  }
}

function devConfig(folder: string, options: DevHostOptions): HostConfig {
  const device = join(folder, "h1", "device");
  return {
    name: "h1",
    stateDir: join(folder, "h1", "state"),
    apiAddress: { host: "127.0.0.1", port: options.apiPort ?? API_PORT_DEFAULT },
    isApiPlain: true,
    devices: [{ path: device, sizeBytes: options.deviceSizeBytes ?? defaultDeviceSize(folder) }],
    memoryBytes: MEMORY_BYTES_DEFAULT,
    keyFile: devKeyFile(folder, join(folder, "h1")),
    bootFolders: [...BOOT_FOLDERS_DEFAULT, join(folder, "boot")],
    cluster: undefined,
  };
}

/** Sparse, so a generous size costs nothing; but not more than the file system could hold. */
function defaultDeviceSize(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return Math.min(DEVICE_SIZE_BYTES_MAX, Math.floor(bavail * bsize * 0.9));
}

/** At each start, so that a folder that is used for long does not fill with it. */
function keepLogShort(logFile: string): void {
  const found = statSync(logFile, { throwIfNoEntry: false });
  if (found !== undefined && found.size > LOG_BYTES_MAX) renameSync(logFile, `${logFile}.1`);
}

interface Announcement {
  readonly folder: string;
  readonly socket: string;
  readonly logFile: string;
  readonly isJson: boolean;
}

async function announce(host: HostProcess, facts: Announcement): Promise<void> {
  await makeDemo(host, facts);
  const status = await host.handlers.status({});
  const [attachment] = status.attachments.filter(({ state }) => state === "online");
  if (facts.isJson) {
    const { folder: dir, logFile: log } = facts;
    process.stdout.write(`${JSON.stringify({ ...readyObject(host, status), dir, log })}\n`);
    return;
  }
  const problems = status.reasons.map(({ message, action }) => `  ${message}\n    do: ${action}\n`);
  process.stdout.write(
    `\nDrystone is ready (${status.health}): API ${host.apiUrl}, everything in ${facts.folder}\n` +
      problems.join("") +
      (attachment === undefined ? howToAttach() : howToUse(attachment, facts.folder)) +
      `\nCtrl-C stops it; what is written stays. Log: ${facts.logFile}\n`,
  );
}

/** Once: a user who has deleted the volume does not get it again. */
async function makeDemo(host: HostProcess, { folder, socket }: Announcement): Promise<void> {
  const marker = join(folder, "h1", "demo-made");
  if (existsSync(marker)) return;
  const { volumes } = await host.handlers["volume.list"]({});
  const demo = volumes.find(({ name }) => name === "demo");
  if (demo === undefined) {
    await host.handlers["volume.create"]({ name: "demo", sizeBytes: DEMO_SIZE_BYTES });
  }
  if (demo?.attachment === undefined) {
    await host.handlers["volume.attach"]({ name: "demo", nbd: socket });
  }
  writeFileSync(marker, "The volume demo was made once; remove this file to have it made again.\n");
}

function howToUse({ volume, uri }: AttachmentView, folder: string): string {
  const load = "--rw=randrw --bs=4k --iodepth=32 --size=256M --verify=crc32c";
  const image = join(dirname(folder), `${volume}.qcow2`);
  return `
Volume ${volume} is at ${uri}
Use it with any NBD client, for example:

  nbdinfo ${shellWord(uri)}
  qemu-img convert -p -O qcow2 ${shellWord(uri)} ${shellWord(image)}
  fio --name=${volume} --ioengine=nbd --uri=${shellWord(uri)} ${load}
`;
}

function howToAttach(): string {
  return `
No volume is attached. For example:

  drystone volume create web1 --size 10G
  drystone volume attach web1
`;
}
