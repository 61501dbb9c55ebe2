/**
 * `drystone host run` under test, with a configuration of its own, as systemd would run it.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort } from "./harness.ts";
import { Program, runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const READY_MS_MAX = 60_000;

export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export class HostRun {
  readonly folder: string;
  readonly api: string;
  readonly configFile: string;
  #program: Program | undefined;

  private constructor(folder: string, api: string, configFile: string) {
    this.folder = folder;
    this.api = api;
    this.configFile = configFile;
  }

  /** Writes the configuration. `devices` are paths; `extra` is laid over what a host needs. */
  static async configure(
    t: TestContext,
    folder: string,
    devices: readonly string[],
    extra: object = {},
  ): Promise<HostRun> {
    const port = await freePort();
    const configFile = path.join(folder, `host-${port}.json`);
    const config = {
      name: "h1",
      stateDir: path.join(folder, "state"),
      apiAddress: `127.0.0.1:${port}`,
      devices: devices.map((device) => ({ path: device, size: "512M" })),
      ...extra,
    };
    fs.writeFileSync(configFile, JSON.stringify(config));
    const host = new HostRun(folder, `http://127.0.0.1:${port}`, configFile);
    t.after(() => host.#program?.kill());
    return host;
  }

  async start(
    args: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const line = this.#line(args);
    this.#program = new Program("drystone host run", process.execPath, line, environment);
    await this.#program.waitForLine(/"ready"/, READY_MS_MAX);
  }

  /** Starts a host that must refuse to start: exit code 1 and one error as JSON. */
  async refusal(args: readonly string[] = []): Promise<Refusal> {
    const { stdout } = await runTool(process.execPath, this.#line(args), { codes: [1] });
    return refusalOf(stdout);
  }

  /** Ends it and returns its exit code. */
  async stop(): Promise<number | null> {
    await this.#program?.end("SIGTERM");
    return (await this.#program?.ended) ?? null;
  }

  async kill(): Promise<void> {
    await this.#program?.kill();
  }

  async cli<T>(args: readonly string[]): Promise<T> {
    const { stdout } = await runTool(process.execPath, [CLI, ...args, "--json", "--api", this.api]);
    return JSON.parse(stdout) as T;
  }

  #line(args: readonly string[]): readonly string[] {
    return [CLI, "host", "run", "--config", this.configFile, "--json", ...args];
  }
}

/** The one JSON error on stdout, with everything that a refusal must have. */
export function refusalOf(stdout: string): Refusal {
  const { error } = JSON.parse(stdout) as { readonly error: Partial<Refusal> };
  const { code, message, hint } = error;
  if (code === undefined || message === undefined || hint === undefined) {
    throw new Error(`a refusal lacks code, message or hint: ${stdout}`);
  }
  if (/\n/.test(message) || /\n/.test(hint)) throw new Error(`more than one line: ${stdout}`);
  return { code, message, hint };
}

/** Runs a command that must be refused: with exit code 2 if it cannot be meant, else with 1. */
export async function refusedCommand(
  api: string,
  args: readonly string[],
  exitCode = 1,
): Promise<Refusal> {
  const line = [CLI, ...args, "--json", "--api", api];
  const { stdout } = await runTool(process.execPath, line, { codes: [exitCode] });
  return refusalOf(stdout);
}
