/**
 * What the end-to-end tests and the benchmarks need of a server of virtual disks, so that the same
 * test runs against Drystone and against servers known to be right: a test that fails on qemu-nbd
 * is at fault itself. `DRYSTONE_E2E_SERVER=qemu-nbd` makes that check.
 */
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { NbdAddress } from "./nbd-client.ts";
import { Program } from "./process.ts";

export interface BlockServer {
  readonly name: string;
  /** Starts, or starts again with what the last run left; done when every volume answers. */
  start(): Promise<void>;
  /** The end that asks nobody: SIGKILL to everything that was started. */
  kill(): Promise<void>;
  /** A clean stop. */
  stop(): Promise<void>;
  /** Creates a volume and offers it; its address stays the same over restarts. */
  volume(name: string, sizeBytes: number): Promise<NbdAddress>;
  /** The processes that serve, for their CPU time and memory. */
  readonly pids: readonly number[];
}

const READY_MS_MAX = 30_000;
const POLL_MS = 20;

export function nbdUri(address: NbdAddress): string {
  return `nbd+unix:///${encodeURIComponent(address.exportName)}?socket=${address.socket}`;
}

/** Waits until somebody accepts on a unix socket; fails if `program` ends first. */
export async function waitForSocket(socket: string, program: Program): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX;
  while (!(await accepts(socket))) {
    if (program.hasEnded) throw new Error(`${program.name}: ${program.transcript.join("\n")}`);
    if (performance.now() > deadline) throw new Error(`nobody listens on ${socket}`);
    await pause(POLL_MS);
  }
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = net.connect(socket);
    connection.once("connect", () => resolve(true)).once("error", () => resolve(false));
    connection.once("connect", () => connection.destroy());
  });
}

type CommandLine = readonly [program: string, ...args: string[]];

/** A peer that serves one disk per process. */
abstract class PeerServer implements BlockServer {
  abstract readonly name: string;
  readonly folder: string;
  readonly #sizes = new Map<string, number>();
  readonly #programs = new Map<string, Program>();

  constructor(folder: string) {
    this.folder = folder;
    fs.mkdirSync(folder, { recursive: true });
  }

  protected abstract commandLine(socket: string, file: string, sizeBytes: number): CommandLine;

  async start(): Promise<void> {
    for (const name of this.#sizes.keys()) await this.#serve(name);
  }

  async kill(): Promise<void> {
    for (const program of this.#programs.values()) await program.kill();
    this.#programs.clear();
  }

  async stop(): Promise<void> {
    for (const program of this.#programs.values()) await program.end();
    this.#programs.clear();
  }

  async volume(name: string, sizeBytes: number): Promise<NbdAddress> {
    this.#sizes.set(name, sizeBytes);
    const file = this.#path(name, "raw");
    if (!fs.existsSync(file)) fs.writeFileSync(file, "");
    if (fs.statSync(file).size < sizeBytes) fs.truncateSync(file, sizeBytes);
    await this.#serve(name);
    return { socket: this.#path(name, "sock"), exportName: "" };
  }

  get pids(): readonly number[] {
    return [...this.#programs.values()].map((program) => program.pid);
  }

  async #serve(name: string): Promise<void> {
    if (this.#programs.has(name)) return;
    const socket = this.#path(name, "sock");
    fs.rmSync(socket, { force: true });
    const size = this.#sizes.get(name)!;
    const [program, ...args] = this.commandLine(socket, this.#path(name, "raw"), size);
    const running = new Program(this.name, program, args);
    this.#programs.set(name, running);
    await waitForSocket(socket, running);
  }

  #path(name: string, kind: string): string {
    return path.join(this.folder, `${name}.${kind}`);
  }
}

/** qemu-nbd on a raw file. */
export class QemuNbd extends PeerServer {
  readonly name: string = "qemu-nbd";
  readonly #cache: string;

  /** `cache` as in qemu: "none" and "directsync" bypass the page cache, "directsync" is durable. */
  constructor(folder: string, cache = "writeback") {
    super(folder);
    this.#cache = cache;
  }

  protected override commandLine(socket: string, file: string): CommandLine {
    const cache = [`--cache=${this.#cache}`, "--aio=io_uring", "--discard=unmap"];
    return ["qemu-nbd", "-k", socket, "-f", "raw", "-t", "-e", "8", ...cache, file];
  }
}

/** nbdkit with a disk in memory: nothing is durable, what is left is the cost of the protocol. */
export class NbdkitMemory extends PeerServer {
  readonly name: string = "nbdkit-memory";

  protected override commandLine(socket: string, _file: string, sizeBytes: number): CommandLine {
    return ["nbdkit", "-f", "-U", socket, "memory", String(sizeBytes)];
  }
}

/** nbdkit on a raw file; with `isDurable` each write is flushed before it is answered. */
export class NbdkitFile extends PeerServer {
  readonly name: string = "nbdkit";
  readonly #isDurable: boolean;

  constructor(folder: string, isDurable: boolean) {
    super(folder);
    this.#isDurable = isDurable;
  }

  protected override commandLine(socket: string, file: string): CommandLine {
    const filter = this.#isDurable ? ["--filter=fua"] : [];
    const durable = this.#isDurable ? ["fuamode=force"] : [];
    return ["nbdkit", "-f", "-U", socket, ...filter, "file", file, ...durable];
  }
}

/** qemu-storage-daemon on a raw file; `isDurable` is past the page cache, flushed at each write. */
export class QemuStorageDaemon extends PeerServer {
  readonly name: string = "qemu-storage-daemon";
  readonly #isDurable: boolean;

  constructor(folder: string, isDurable: boolean) {
    super(folder);
    this.#isDurable = isDurable;
  }

  protected override commandLine(socket: string, file: string): CommandLine {
    const onOff = this.#isDurable ? "on" : "off";
    return [
      "qemu-storage-daemon",
      ...[
        "--blockdev",
        `driver=file,node-name=f,filename=${file},aio=io_uring,cache.direct=${onOff}`,
      ],
      ...["--blockdev", "driver=raw,node-name=n,file=f"],
      ...["--nbd-server", `addr.type=unix,addr.path=${socket}`],
      ...["--export", `type=nbd,id=e,node-name=n,name=,writable=on,writethrough=${onOff}`],
    ];
  }
}
