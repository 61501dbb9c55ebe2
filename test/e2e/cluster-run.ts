/** A development cluster as a process of its own, for tests and benchmarks. */
import assert from "node:assert/strict";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { NetworkView } from "../../src/host/index.ts";
import { CLUSTER_PORTS, freePort } from "./harness.ts";
import { endMachinesIn, processTree, Program, runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const READY_MS_MAX = 180_000;
export interface VolumeShown {
  readonly owner?: string;
  readonly accessible: boolean;
  readonly components: readonly { readonly host: string; readonly state: string }[];
}

export class ClusterRun {
  readonly folder: string;
  readonly #port: number;
  readonly #args: readonly string[];
  readonly #environment: Readonly<Record<string, string>>;
  #program: Program | undefined;

  private constructor(
    folder: string,
    port: number,
    args: readonly string[],
    environment: Readonly<Record<string, string>>,
  ) {
    this.folder = folder;
    this.#port = port;
    this.#args = args;
    this.#environment = environment;
  }

  /**
   * `folder` is made. `args` are more ones of `drystone dev`; `environment` is laid over this
   * process's. The caller ends it with `kill` or `stop`.
   */
  static async create(
    folder: string,
    args: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<ClusterRun> {
    const port = await freePort(CLUSTER_PORTS);
    const run = new ClusterRun(folder, port, args, environment);
    try {
      await run.start();
    } catch (error) {
      await run.kill();
      throw error;
    }
    return run;
  }

  /** The supervisor and its hosts. */
  get pids(): readonly number[] {
    const program = this.#program;
    return program === undefined || program.hasEnded ? [] : processTree(program.pid);
  }

  async start(): Promise<void> {
    const args = [
      "dev",
      "--hosts",
      "3",
      "--dir",
      this.folder,
      "--device-size",
      "2G",
      ...this.#args,
    ];
    const line = [CLI, ...args, "--api-port", String(this.#port), "--json"];
    this.#program = new Program("drystone dev", process.execPath, line, this.#environment);
    await this.#program.waitForLine(/^\{"ready":true/, READY_MS_MAX);
  }

  /** Its machines, too, once no host starts them again. */
  async kill(): Promise<void> {
    await this.#program?.kill();
    endMachinesIn(this.folder);
  }

  async stop(): Promise<void> {
    await this.#program?.end("SIGTERM");
  }

  get uri(): string {
    return `nbd+unix:///demo?socket=${path.join(this.folder, "demo.sock")}`;
  }

  async dev(
    word: "kill" | "start" | "stop" | "partition" | "heal",
    ...args: string[]
  ): Promise<void> {
    const line = [CLI, "dev", word, ...args, "--dir", this.folder];
    await runTool(process.execPath, line, { timeoutMs: READY_MS_MAX });
  }

  api(host: number): string {
    return `http://127.0.0.1:${this.#port + host - 1}`;
  }

  /** Asks the host with this number. */
  async cli<T>(host: number, args: readonly string[]): Promise<T> {
    const api = this.api(host);
    const { stdout } = await runTool(process.execPath, [CLI, ...args, "--json", "--api", api]);
    return JSON.parse(stdout) as T;
  }

  /** By the API: a command that starts each time takes a part of the processors. */
  async get<T>(host: number, place: string): Promise<T> {
    const answer = await fetch(`${this.api(host)}${place}`);
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  /** Waits until one host sees another one so. */
  async untilSeen(host: number, other: string, state: string): Promise<void> {
    const limit = performance.now() + READY_MS_MAX;
    for (;;) {
      const { hosts } = await this.cli<{
        readonly hosts: readonly { readonly name: string; readonly state: string }[];
      }>(host, ["host", "list"]);
      const found = hosts.find(({ name }) => name === other)?.state;
      if (found === state) return;
      assert.ok(performance.now() < limit, `h${host} sees ${other} as ${found ?? "no host"}`);
    }
  }

  /**
   * Waits until a host tells that it sees the others so, each as name, state in the storage
   * network and in the management network. Every host notices by itself, in its own time.
   */
  async untilSeenBy(host: string, others: readonly string[]): Promise<void> {
    const limit = performance.now() + READY_MS_MAX;
    for (;;) {
      const { hosts } = await this.cli<NetworkView>(1, ["network", "show"]);
      const told = (hosts.find(({ name }) => name === host)?.sees ?? [])
        .map((one) => `${one.host} ${one.storage} ${one.management}`)
        .toSorted();
      if (isDeepStrictEqual(told, others)) return;
      assert.ok(performance.now() < limit, `${host} sees ${told.join(", ")}`);
    }
  }

  /** Waits until the host's part of the volume is known not to be there. */
  async untilLost(host: number, lost: string): Promise<void> {
    const limit = performance.now() + READY_MS_MAX;
    for (;;) {
      const { components } = await this.cli<VolumeShown>(host, ["volume", "show", "demo"]);
      if (components.find((one) => one.host === lost)?.state !== "active") return;
      assert.ok(performance.now() < limit, `${lost} is not missed`);
    }
  }

  /** Waits until every copy is active again, which is after its digests were found equal. */
  async untilWhole(host: number): Promise<VolumeShown> {
    const limit = performance.now() + READY_MS_MAX;
    for (;;) {
      const shown = await this.cli<VolumeShown>(host, ["volume", "show", "demo"]);
      if (shown.components.every(({ state }) => state === "active")) return shown;
      assert.ok(performance.now() < limit, `it does not become whole: ${JSON.stringify(shown)}`);
    }
  }
}
