/**
 * What the size of a section costs: one machine's reads of 4 KiB into memory that is twice as long
 * as all mappings together, for several sizes, each in a process of its own, interleaved within
 * every round. The volume answers from memory, so that the front end is most of what is measured.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import type { SectionStats } from "../src/frontend/index.ts";
import { runTool } from "../test/e2e/process.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { vhostLoadProgram } from "./vhost-load-program.ts";

const SERVER = fileURLToPath(new URL("./section-server.js", import.meta.url));
const KIB = 2 ** 10;
const MIB = 2 ** 20;
const VOLUME_BYTES = 32 * MIB;
const MEMORY_BYTES = 1024 * MIB;
/** What a host maps of all its machines. */
const HOST_MAPPED_BYTES = 16 * 2 ** 30;
/** `vm.max_map_count` as kernels have it. */
const KERNEL_MAPPINGS_MAX = 65_530;
const DEPTH = 32;
const LOAD_MS_MAX = 300_000;
const SAMPLE_MS = 50;
const SIZES = [16 * KIB, 64 * KIB, 256 * KIB, MIB, 2 * MIB, 4 * MIB, 16 * MIB, 64 * MIB] as const;

interface Workload {
  readonly name: string;
  readonly places: "random" | "hot" | "scattered" | "sequential";
  /** The part of the memory that may be mapped at once. */
  readonly mappedPart: number;
}

const WORKLOADS: readonly Workload[] = [
  { name: "all-mapped", places: "random", mappedPart: 1 },
  { name: "random", places: "random", mappedPart: 0.5 },
  { name: "hot-fifth", places: "hot", mappedPart: 0.5 },
  { name: "scattered-fifth", places: "scattered", mappedPart: 0.5 },
  { name: "sequential", places: "sequential", mappedPart: 0.5 },
];

interface Sample {
  readonly cpuUs: number;
  readonly mapsPerThousand: number;
  readonly p999Us: number;
  /** Of the server's process, at their highest. */
  readonly mappings: number;
  readonly pageTableBytes: number;
}

const METRICS: readonly (readonly [string, (sample: Sample) => number])[] = [
  ["CPU us/IO", (sample) => sample.cpuUs],
  ["maps/1000 IO", (sample) => sample.mapsPerThousand],
  ["p99.9 us", (sample) => sample.p999Us],
  ["mappings", (sample) => sample.mappings],
  ["page tables KiB", (sample) => sample.pageTableBytes / KIB],
];

export const sectionsBenchmark: Benchmark = {
  name: "sections",
  summary: "Sections of several sizes under a machine whose memory is larger than all mappings",
  defaults: { rounds: 3, seconds: 1, folder: "/var/tmp" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const { command, language } = vhostLoadProgram();
  if (language !== "C") throw new Error("the load needs a C compiler (cc): install gcc");
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const socket = path.join(folder, "socket");
  try {
    const figures: Figure[] = [];
    for (const work of WORKLOADS.filter(({ name }) => isWanted(name, options.workloads))) {
      const samples = new Map<number, Sample[]>();
      for (let round = 1; round <= options.rounds; round++)
        for (const sectionBytes of SIZES) {
          if (!isWanted(nameOf(sectionBytes), options.targets)) continue;
          const sample = await measure(command, socket, work, sectionBytes, options.seconds);
          samples.set(sectionBytes, [...(samples.get(sectionBytes) ?? []), sample]);
          const told = `${sample.cpuUs.toFixed(2)} us/IO`;
          options.progress(`round ${round}  ${work.name}  ${nameOf(sectionBytes)}  ${told}`);
        }
      for (const [sectionBytes, list] of samples)
        for (const [metric, pick] of METRICS) {
          const name = { workload: work.name, target: nameOf(sectionBytes), metric };
          figures.push(figure(name, list.map(pick)));
        }
    }
    return { figures, notes: notes() };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(
  command: string,
  socket: string,
  work: Workload,
  sectionBytes: number,
  seconds: number,
): Promise<Sample> {
  // The machine's memory has its rings before the data.
  const sections = Math.ceil((work.mappedPart * MEMORY_BYTES) / sectionBytes) + 1;
  const server = await Server.start(socket, sectionBytes, sections);
  try {
    const args = [socket, server.pid, DEPTH, seconds, "read", MEMORY_BYTES, work.places];
    const load = runTool(command, args.map(String), { timeoutMs: LOAD_MS_MAX });
    const highest = await server.watchUntil(load);
    const { cpuUs, p999Us, requests } = JSON.parse((await load).stdout) as {
      readonly cpuUs: number;
      readonly p999Us: number;
      readonly requests: number;
    };
    const { mapsTotal } = await server.end();
    return { cpuUs, p999Us, mapsPerThousand: (1000 * mapsTotal) / requests, ...highest };
  } catch (error) {
    server.kill();
    throw error;
  }
}

class Server {
  readonly pid: number;
  readonly #child: ReturnType<typeof spawnServer>;
  readonly #lines: AsyncIterableIterator<string>;

  private constructor(child: ReturnType<typeof spawnServer>) {
    if (child.pid === undefined) throw new Error("the server of sections did not start");
    this.pid = child.pid;
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async start(socket: string, sectionBytes: number, sections: number): Promise<Server> {
    const server = new Server(spawnServer([socket, VOLUME_BYTES, sectionBytes, sections]));
    await server.#line();
    return server;
  }

  /** How many mappings and how much of page tables it has, at most, until the work is done. */
  async watchUntil(work: Promise<unknown>): Promise<Pick<Sample, "mappings" | "pageTableBytes">> {
    const highest = { mappings: 0, pageTableBytes: 0 };
    const look = (): void => {
      const status = fs.readFileSync(`/proc/${this.pid}/status`, "utf8");
      const tables = KIB * Number(/^VmPTE:\s+(\d+) kB/m.exec(status)?.[1]);
      const mappings = fs.readFileSync(`/proc/${this.pid}/maps`, "utf8").split("\n").length;
      highest.pageTableBytes = Math.max(highest.pageTableBytes, tables);
      highest.mappings = Math.max(highest.mappings, mappings);
    };
    const timer = setInterval(look, SAMPLE_MS);
    await work.finally(() => clearInterval(timer));
    return highest;
  }

  async end(): Promise<SectionStats> {
    this.#child.stdin.end();
    return JSON.parse(await this.#line()) as SectionStats;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error("the server of sections has ended");
    return next.value;
  }
}

function spawnServer(args: readonly (string | number)[]) {
  return spawn(process.execPath, [SERVER, ...args.map(String)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
}

/** "64 KiB" would be cut at its space where names are looked for. */
function nameOf(sectionBytes: number): string {
  return sectionBytes < MIB ? `${sectionBytes / KIB}KiB` : `${sectionBytes / MIB}MiB`;
}

function notes(): string[] {
  const tooMany = SIZES.filter((bytes) => HOST_MAPPED_BYTES / bytes >= KERNEL_MAPPINGS_MAX);
  return [
    `reads of 4 KiB at QD${DEPTH} into ${MEMORY_BYTES / MIB} MiB; half of it may be mapped at once, all of it with all-mapped`,
    "hot-fifth and scattered-fifth: nine in ten reads go to a fifth, the first one or one spread over all in pieces of 64 KiB",
    "maps are counted from the beginning, processor time once it has run for 0.3 s",
    `16 GiB, which a host maps, would be more mappings than a process may have (${KERNEL_MAPPINGS_MAX}) of ${tooMany.map(nameOf).join(", ")}`,
  ];
}
