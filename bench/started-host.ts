/** `drystone host run` on one device, as users start it, for benchmarks of the process itself. */
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../test/e2e/harness.ts";
import { processUsage, Program, runTool } from "../test/e2e/process.ts";

const CLI = fileURLToPath(new URL("../../bin/drystone", import.meta.url));
const READY_MS_MAX = 120_000;

interface Started {
  readonly ms: number;
  readonly cpuMs: number;
  readonly residentBytes: number;
}

/** `drystone host run` on one device. */
export class StartedHost {
  readonly #configFile: string;
  readonly #api: string;
  #program: Program | undefined;

  private constructor(configFile: string, api: string) {
    this.#configFile = configFile;
    this.#api = api;
  }

  /** With one device in the folder. */
  static async configure(
    folder: string,
    { deviceSize, memory }: { readonly deviceSize: string; readonly memory?: string },
  ): Promise<StartedHost> {
    const apiAddress = `127.0.0.1:${await freePort()}`;
    const device = { path: path.join(folder, "device"), size: deviceSize };
    const config = {
      name: "h1",
      stateDir: path.join(folder, "state"),
      apiAddress,
      devices: [device],
    };
    const budget = memory === undefined ? {} : { memory };
    const configFile = path.join(folder, "host.json");
    fs.writeFileSync(configFile, JSON.stringify({ ...config, ...budget }));
    return new StartedHost(configFile, `http://${apiAddress}`);
  }

  async start(): Promise<Started> {
    const line = [CLI, "host", "run", "--config", this.#configFile, "--json"];
    const begun = performance.now();
    this.#program = new Program("drystone host run", process.execPath, line);
    await this.#program.waitForLine(/"ready"/, READY_MS_MAX);
    const ms = performance.now() - begun;
    const { cpuSeconds, residentBytes } = processUsage(this.#program.pid);
    return { ms, cpuMs: cpuSeconds * 1000, residentBytes };
  }

  get pid(): number {
    if (this.#program === undefined) throw new Error("the host was never started");
    return this.#program.pid;
  }

  async stop(): Promise<void> {
    await this.#program?.end("SIGTERM");
  }

  async cli<T>(args: readonly string[]): Promise<T> {
    const line = [CLI, ...args, "--json", "--api", this.#api];
    return JSON.parse((await runTool(process.execPath, line)).stdout) as T;
  }
}
