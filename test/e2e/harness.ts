/**
 * A development host under test: the real command line on a folder and a port of its own, ready
 * when it says so, killed or stopped at will, and gone after the test whatever happened in between.
 */
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { QemuNbd } from "./block-server.ts";
import type { BlockServer } from "./block-server.ts";
import type { NbdAddress } from "./nbd-client.ts";
import { Program, processTree, runTool } from "./process.ts";
import type { RunOptions } from "./process.ts";

/** One copy, also where several hosts are. */
export const NO_MIRROR: readonly string[] = ["--failures-to-tolerate", "0"];

/** Set to run the long versions: minutes instead of seconds, the sizes a release is tested with. */
export const isLong: boolean = process.env["DRYSTONE_LONG"] === "1";

export const CLI: string = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const READY_MS_MAX = 60_000;

/** A folder that is removed when the test ends. `DRYSTONE_E2E_DIR` says on which file system. */
export function temporaryFolder(t: TestContext): string {
  const parent = process.env["DRYSTONE_E2E_DIR"] ?? os.tmpdir();
  const folder = fs.mkdtempSync(path.join(parent, "drystone-e2e-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The server that the tests run against: Drystone, or a peer to test the test itself. */
export async function startServer(t: TestContext): Promise<BlockServer> {
  const folder = temporaryFolder(t);
  const isPeer = process.env["DRYSTONE_E2E_SERVER"] === "qemu-nbd";
  const server = isPeer ? new QemuNbd(folder) : await DevHost.create(folder);
  t.after(() => server.kill());
  await server.start();
  return server;
}

/** A running development host, for tests of what only Drystone has. */
export async function startHost(t: TestContext, deviceSize?: string): Promise<DevHost> {
  const host = await DevHost.create(temporaryFolder(t), deviceSize);
  t.after(() => host.kill());
  await host.start();
  return host;
}

export class DevHost implements BlockServer {
  readonly name: string = "drystone";
  readonly folder: string;
  readonly api: string;
  readonly #port: number;
  #program: Program | undefined;

  readonly #deviceSize: readonly string[];

  private constructor(folder: string, port: number, deviceSize: string | undefined) {
    this.folder = folder;
    this.#port = port;
    this.#deviceSize = deviceSize === undefined ? [] : ["--device-size", deviceSize];
    this.api = `http://127.0.0.1:${port}`;
  }

  /** `deviceSize` as the command line takes it; default: what the file system has free. */
  static async create(folder: string, deviceSize?: string): Promise<DevHost> {
    return new DevHost(folder, await freePort(), deviceSize);
  }

  /** Where the host keeps everything. */
  get dataFolder(): string {
    return path.join(this.folder, "data");
  }

  async start(): Promise<void> {
    const args = ["dev", "--hosts", "1", "--dir", this.dataFolder, ...this.#deviceSize];
    this.#program = new Program("drystone dev", process.execPath, [
      CLI,
      ...args,
      "--api-port",
      String(this.#port),
      "--json",
    ]);
    await this.#program.waitForLine(/^\{"ready":true/, READY_MS_MAX);
  }

  async kill(): Promise<void> {
    await this.#program?.kill();
  }

  async stop(): Promise<void> {
    await this.#program?.end("SIGTERM");
  }

  get program(): Program {
    if (this.#program === undefined) throw new Error("the host was never started");
    return this.#program;
  }

  get pids(): readonly number[] {
    return processTree(this.program.pid);
  }

  /** Runs a command with `--json` and returns what it printed. */
  async cli<T>(args: readonly string[], options: RunOptions = {}): Promise<T> {
    const line = [CLI, ...args, "--json", "--api", this.api];
    const { stdout } = await runTool(process.execPath, line, options);
    return JSON.parse(stdout) as T;
  }

  async volume(name: string, sizeBytes: number): Promise<NbdAddress> {
    const socket = path.join(this.folder, `${name}.sock`);
    await this.cli(["volume", "create", name, "--size", String(sizeBytes)]);
    const attached = await this.cli<{ uri: string }>(["volume", "attach", name, "--nbd", socket]);
    return { socket, exportName: decodeURIComponent(new URL(attached.uri).pathname.slice(1)) };
  }
}

/**
 * The kernel takes ports of connections from above: one of them may be any of those at any time.
 */
const PORT_FIRST = 10_000;
const PORT_COUNT = 9_800;
/** More than a development cluster of three hosts uses above its first one. */
export const CLUSTER_PORTS = 120;

let portsTried = process.pid * 137;

/** The first of `count` ports in a row at which nobody listens. */
export async function freePort(count = 1): Promise<number> {
  for (;;) {
    const first = PORT_FIRST + (portsTried % PORT_COUNT);
    portsTried += count;
    if (await areFree(first, count)) return first;
  }
}

async function areFree(first: number, count: number): Promise<boolean> {
  for (let port = first; port < first + count; port++) if (!(await isFree(port))) return false;
  return true;
}

/** Whether nobody listens at it now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
