/** A cluster as an operator makes it: init on one host, join on others, each a process. */
import * as fs from "node:fs";
import * as http from "node:http";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { refusalOf } from "./host-run.ts";
import type { Refusal } from "./host-run.ts";
import { Program, runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const READY_MS_MAX = 60_000;
/** From one host's API to the next one's. */
const PORTS_PER_HOST = 10;

/** What a host is set up and run with. */
export interface HostProgram {
  /** The command of a checkout. Default: this one's. */
  readonly cli?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export class JoinedCluster {
  readonly #hostPrograms = new Map<string, HostProgram>();
  readonly folder: string;
  readonly #firstPort: number;
  readonly #programs = new Map<string, Program>();

  readonly #cli: string;
  #commandCount = 0;

  /** `cli` is the command to use instead of this checkout's. */
  constructor(
    t: TestContext,
    folder: string,
    firstPort: number,
    { cli = CLI }: { readonly cli?: string } = {},
  ) {
    this.#cli = cli;
    this.folder = folder;
    this.#firstPort = firstPort;
    t.after(async () => {
      for (const program of this.#programs.values()) await program.kill();
      for (const host of this.#programs.keys()) this.killMember(host);
    });
  }

  /** What an operator would have typed, without the starts of services. */
  get commandCount(): number {
    return this.#commandCount;
  }

  portOf(host: string): number {
    return this.#firstPort + (Number(host.slice(1)) - 1) * PORTS_PER_HOST;
  }

  tlsOf(host: string): string {
    return path.join(this.folder, host, "tls");
  }

  /** From its next start on. */
  runsAs(host: string, program: HostProgram): void {
    this.#hostPrograms.set(host, program);
  }

  async init(host: string, more: readonly string[] = []): Promise<void> {
    await this.#run(["init", ...this.#setUp(host), ...more], this.#hostPrograms.get(host)?.cli);
  }

  /** `path` is where programs are looked for. */
  async refusedInit(host: string, more: readonly string[], searched: string): Promise<Refusal> {
    const line = [this.#cli, "init", ...this.#setUp(host), ...more, "--json"];
    const env = { ...process.env, PATH: searched };
    return refusalOf((await runTool(process.execPath, line, { codes: [1], env })).stdout);
  }

  async token(host: string): Promise<string> {
    const { token } = await this.cli<{ readonly token: string }>(host, ["token", "create"]);
    return token;
  }

  async join(host: string, to: string, token: string): Promise<void> {
    await this.#run(this.#joinLine(host, to, token), this.#hostPrograms.get(host)?.cli);
  }

  async refusedJoin(host: string, to: string, token: string): Promise<Refusal> {
    const line = [this.#cli, ...this.#joinLine(host, to, token), "--json"];
    return refusalOf((await runTool(process.execPath, line, { codes: [1] })).stdout);
  }

  async start(host: string): Promise<void> {
    await this.launch(host);
    await this.ready(host);
  }

  /** Resolves when the process runs, which may wait for others. */
  async launch(host: string): Promise<void> {
    const config = path.join(this.folder, host, "host.json");
    const { cli = this.#cli, environment } = this.#hostPrograms.get(host) ?? {};
    const line = [cli, "host", "run", "--config", config, "--json"];
    const program = new Program(`host ${host}`, process.execPath, line, environment);
    this.#programs.set(host, program);
  }

  async ready(host: string): Promise<void> {
    await this.#programs.get(host)?.waitForLine(/"ready"/, READY_MS_MAX);
  }

  /** What it has said when it ended by itself. */
  async refusedStart(host: string): Promise<string> {
    await this.launch(host);
    const program = this.#programs.get(host)!;
    await program.ended;
    return program.transcript.join("\n");
  }

  async kill(host: string): Promise<void> {
    await this.#programs.get(host)?.kill();
  }

  async stop(host: string): Promise<void> {
    await this.#programs.get(host)?.end("SIGTERM");
  }

  /** What the API answers, without a process for it: for what is asked again and again. */
  async get<T>(host: string, at: string): Promise<T> {
    const socketPath = path.join(this.folder, host, "state", "api.sock");
    return await new Promise((resolve, reject) => {
      const request = http.get({ socketPath, path: at, agent: false }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece: string) => (text += piece));
        response.on("end", () => resolve(JSON.parse(text) as T));
      });
      request.on("error", reject);
    });
  }

  /** Over the socket in its state directory. */
  async cli<T>(host: string, args: readonly string[]): Promise<T> {
    const socket = path.join(this.folder, host, "state", "api.sock");
    return JSON.parse(await this.#run([...args, "--api", `unix:${socket}`])) as T;
  }

  /**
   * Ends the member of the directory that a killed host has left behind, if there is one. The
   * folder may be gone by then.
   */
  killMember(host: string): void {
    this.signalMember(host, "SIGKILL");
  }

  signalMember(host: string, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    const data = path.join(this.folder, host, "directory", "etcd");
    for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      if (commandLine(pid).includes(data)) process.kill(Number(pid), signal);
    }
  }

  async refusedCli(host: string, args: readonly string[]): Promise<Refusal> {
    const socket = path.join(this.folder, host, "state", "api.sock");
    const line = [this.#cli, ...args, "--api", `unix:${socket}`, "--json"];
    return refusalOf((await runTool(process.execPath, line, { codes: [1] })).stdout);
  }

  async #run(args: readonly string[], cli = this.#cli): Promise<string> {
    this.#commandCount++;
    return (await runTool(process.execPath, [cli, ...args, "--json"])).stdout;
  }

  #joinLine(host: string, to: string, token: string): string[] {
    const cluster = `127.0.0.1:${this.portOf(to)}`;
    return ["join", cluster, "--token", token, ...this.#setUp(host)];
  }

  #setUp(host: string): string[] {
    const device = path.join(this.folder, `${host}-device`);
    fs.mkdirSync(device, { recursive: true });
    return [
      ...["--address", "127.0.0.1", "--port", String(this.portOf(host)), "--name", host],
      ...["--dir", path.join(this.folder, host), "--device", device, "--device-size", "1G"],
    ];
  }
}

function commandLine(pid: string): readonly string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // It has ended meanwhile.
  }
}
