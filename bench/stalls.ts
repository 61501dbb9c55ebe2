/**
 * How long clients wait when a host dies: a mirrored volume of a development cluster under a load
 * that checks every byte, and SIGKILL for the host that serves it, or for the one with the other
 * copy, again and again. One round is one kill of each.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import { PacedLoad } from "../test/e2e/paced-load.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";

const LANES = 6;
/** A client counts as served when nobody has waited longer than this. */
const CALM_MS = 200;
const LOOK_MS = 50;
const WAIT_MS_MAX = 60_000;
const TARGETS = ["serving host", "other copy"] as const;
type Killed = (typeof TARGETS)[number];

interface Shown {
  readonly components: readonly { readonly host: string; readonly componentId: string }[];
  readonly tree: { readonly children?: readonly { kind: string; componentId?: string }[] };
  readonly attachment?: { readonly host: string; readonly state: string };
}

export const stallsBenchmark: Benchmark = {
  name: "stalls",
  summary: "The longest wait of clients for each host that is killed, on three hosts",
  defaults: { rounds: 15, seconds: 1, folder: "/dev/shm" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const cluster = await ClusterRun.create(path.join(folder, "c"));
  const address = { socket: path.join(cluster.folder, "demo.sock"), exportName: "demo" };
  const stalls = new Map<Killed, number[]>(TARGETS.map((target) => [target, []]));
  try {
    await cluster.untilWhole(1);
    const load = await PacedLoad.start(address, LANES);
    const wanted = TARGETS.filter((target) => isWanted(target, options.targets));
    for (let round = 1; round <= options.rounds; round++) {
      for (const target of wanted) {
        const stallMs = await kill(cluster, load, target);
        stalls.get(target)?.push(stallMs);
        options.progress(`round ${round}  ${target}  ${stallMs.toFixed(0)} ms`);
      }
    }
    await load.stop();
    await load.verify(address);
    return {
      figures: wanted.flatMap((target) => figuresOf(target, stalls.get(target) ?? [])),
      notes: [
        "SIGKILL; the address is the one that npm start prints, which follows the volume",
        "every answer was checked, and everything was read again in the end",
      ],
    };
  } finally {
    await cluster.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function kill(cluster: ClusterRun, load: PacedLoad, target: Killed): Promise<number> {
  await calm(load);
  const shown = await show(cluster, 1);
  const server = shown.attachment?.host;
  const copies = (shown.tree.children ?? []).filter(({ kind }) => kind !== "witness");
  const other = shown.components.find(
    (one) =>
      one.host !== server && copies.some(({ componentId }) => componentId === one.componentId),
  );
  const killed = target === "serving host" ? server : other?.host;
  if (server === undefined || killed === undefined) throw new Error("nobody serves the volume");
  load.takeStallMs();
  await cluster.dev("kill", killed);
  const asked = (Number(killed.slice(1)) % 3) + 1;
  await cluster.untilLost(asked, killed);
  await answered(load);
  const stallMs = load.takeStallMs();
  await cluster.dev("start", killed);
  await cluster.untilWhole(asked);
  return stallMs;
}

function show(cluster: ClusterRun, host: number): Promise<Shown> {
  return cluster.cli<Shown>(host, ["volume", "show", "demo"]);
}

/** Until clients are served as if nothing had happened. */
async function calm(load: PacedLoad): Promise<void> {
  await until(async () => {
    load.takeStallMs();
    await pause(CALM_MS);
    return load.takeStallMs() < CALM_MS;
  });
}

/** Until what waited is answered. */
async function answered(load: PacedLoad): Promise<void> {
  await until(async () => {
    await pause(CALM_MS);
    return load.waitingMs() < CALM_MS;
  });
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const limit = performance.now() + WAIT_MS_MAX;
  while (!(await isSo())) {
    if (performance.now() > limit) throw new Error("clients are not served");
    await pause(LOOK_MS);
  }
}

function figuresOf(target: Killed, stalls: readonly number[]): readonly Figure[] {
  const sorted = stalls.toSorted((a, b) => a - b);
  const p99 = sorted[Math.ceil(0.99 * sorted.length) - 1];
  const name = (metric: string) => ({ workload: "SIGKILL", target, metric });
  return p99 === undefined ? [] : [figure(name("stall ms"), stalls), figure(name("p99 ms"), [p99])];
}
