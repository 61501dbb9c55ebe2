/** Real etcd members for tests: on loopback ports, in a folder that goes with the test. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { isFree } from "./harness.ts";
import { isStopped, Program } from "./process.ts";

/** Shorter than etcd's own (100 and 1000), so that members start and take over sooner. */
const ELECTION = ["--heartbeat-interval", "50", "--election-timeout", "500"];

export interface EtcdTestOptions {
  readonly members?: number;
  readonly scheme?: "http" | "https";
  /** For all members. */
  readonly args?: readonly string[];
}

/** Why tests with etcd cannot run here, if they cannot. */
export function etcdMissing(): string | undefined {
  try {
    execFileSync("etcd", ["--version"], { stdio: "pipe" });
    return undefined;
  } catch {
    return "etcd is not installed (Debian package etcd-server)";
  }
}

/**
 * Below the range that connections get their own ports from: a port of that range may be taken
 * while its member is down, even by a client that tries to connect to it.
 */
const PORT_FIRST = 20_000;
const PORT_COUNT = 12_000;
let portsTried = process.pid * 101;

/** Ports that nobody listens on now. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = PORT_FIRST + (portsTried++ % PORT_COUNT);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

interface Member {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  program: Program | undefined;
}

/** A cluster of members, each of which may be killed and started again. */
export class EtcdCluster {
  readonly folder: string;
  readonly #members: readonly Member[];
  readonly #args: readonly string[];

  private constructor(folder: string, members: readonly Member[], args: readonly string[]) {
    this.folder = folder;
    this.#members = members;
    this.#args = args;
  }

  static async start(options: EtcdTestOptions = {}): Promise<EtcdCluster> {
    const { members: count = 1, scheme = "http", args = [] } = options;
    const folder = mkdtempSync("/var/tmp/drystone-etcd-");
    const ports = await freePorts(2 * count);
    const members = Array.from({ length: count }, (_, i): Member => {
      const url = (protocol: string, port: number): string => `${protocol}://127.0.0.1:${port}`;
      return {
        name: `m${i}`,
        clientUrl: url(scheme, ports[2 * i]!),
        peerUrl: url("http", ports[2 * i + 1]!),
        program: undefined,
      };
    });
    const cluster = new EtcdCluster(folder, members, args);
    await Promise.all(members.map((_, i) => cluster.startMember(i)));
    return cluster;
  }

  get endpoints(): string[] {
    return this.#members.map(({ clientUrl }) => clientUrl);
  }

  /** Resolves when it serves clients. */
  async startMember(index: number): Promise<void> {
    const member = this.#members[index]!;
    const initial = this.#members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
    member.program = new Program(`etcd ${member.name}`, "etcd", [
      ...["--name", member.name, "--data-dir", join(this.folder, member.name)],
      ...["--listen-client-urls", member.clientUrl, "--advertise-client-urls", member.clientUrl],
      ...["--listen-peer-urls", member.peerUrl, "--initial-advertise-peer-urls", member.peerUrl],
      ...["--initial-cluster", initial, "--logger", "zap", "--log-outputs", "stderr"],
      ...ELECTION,
      ...this.#args,
    ]);
    await member.program.waitForLine(/serving (?:insecure )?client (?:requests|traffic)/i);
  }

  async killMember(index: number): Promise<void> {
    await this.#members[index]!.program?.kill();
  }

  /** It can do nothing from then on: its process is stopped, its sockets are open. */
  async stopMember(index: number): Promise<void> {
    const { pid } = this.#members[index]!.program!;
    process.kill(pid, "SIGSTOP");
    // Its threads stop when they run next.
    while (!isStopped(pid)) await setTimeout(1);
  }

  continueMember(index: number): void {
    process.kill(this.#members[index]!.program!.pid, "SIGCONT");
  }

  /** A request of the JSON gateway, to do what the directory does not. */
  async post(path: string, body: object, token?: string): Promise<unknown> {
    const response = await fetch(`${this.endpoints[0]}/v3/${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      ...(token !== undefined && { headers: { authorization: token } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#members.map(async (_, i) => await this.killMember(i)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
