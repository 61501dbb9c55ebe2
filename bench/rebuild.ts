/**
 * A component that moves to a device which holds a share of its contents already, for another
 * volume: what is sent and how long it takes, fingerprints first and as a plain copy. Four hosts
 * with their directory, each a process on this machine.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import { BLOCK, randomBytes, RebuildWorld } from "../test/e2e/rebuild-world.ts";
import { figure, isWanted } from "./benchmark.ts";
import { rebuildSvg } from "./rebuild-plot.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";

const HOSTS = 4;
const SHARES = [0, 25, 50, 75, 95] as const;
const MODES = [
  { target: "fingerprints first", fingerprints: "on" },
  { target: "plain copy", fingerprints: "off" },
] as const;
/** Of the component that moves. */
const SIZE_BYTES = 2 ** 20 * Number(process.env["DRYSTONE_BENCH_MIB"] ?? 128);

/** A copy of it is in docs/internals. */
const SVG_PATH = ".cache/bench/rebuild.svg";

interface Sample {
  readonly sentMib: number;
  readonly seconds: number;
}

export const rebuildBenchmark: Benchmark = {
  name: "rebuild",
  summary: "A component made anew where 0 to 95 % of its contents are: bytes sent and seconds",
  defaults: { rounds: 1, seconds: 1, folder: "/dev/shm" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const figures: Figure[] = [];
  for (const share of SHARES) {
    const workload = `${share} % known`;
    if (!isWanted(workload, options.workloads)) continue;
    for (const { target, fingerprints } of MODES) {
      if (!isWanted(target, options.targets)) continue;
      const samples: Sample[] = [];
      for (let round = 1; round <= options.rounds; round++) {
        const sample = await measure(options.folder, share / 100, fingerprints);
        samples.push(sample);
        const what = `${sample.sentMib.toFixed(1)} MiB in ${sample.seconds.toFixed(2)} s`;
        options.progress(`round ${round}  ${workload}  ${target}  ${what}`);
      }
      const add = (metric: string, pick: (sample: Sample) => number): void =>
        void figures.push(figure({ workload, target, metric }, samples.map(pick)));
      add("MiB sent", ({ sentMib }) => sentMib);
      add("seconds", ({ seconds }) => seconds);
      add("MiB/s", ({ seconds }) => SIZE_BYTES / 2 ** 20 / seconds);
    }
  }
  fs.mkdirSync(path.dirname(SVG_PATH), { recursive: true });
  fs.writeFileSync(SVG_PATH, rebuildSvg(figures));
  figures.push(...(await patterns(options)));
  return {
    figures,
    notes: [
      `drawn in ${SVG_PATH}`,
      "beside Ceph's backfill and Gluster's heal: npm run bench -- rebuild-peers",
      `a component of ${SIZE_BYTES / 2 ** 20} MiB that leaves its device; nobody uses the volume`,
      "from the moment that it is being made until it was verified and counts",
      "every block is written once: nothing is a duplicate within the component",
      `devices are files in ${options.folder}; all hosts share this machine's processors`,
    ],
  };
}

/** Data and holes in turn, each of one block, beside as much data in one piece. */
async function patterns(options: BenchmarkOptions): Promise<Figure[]> {
  const dense = randomBytes(1, SIZE_BYTES);
  const holed = Buffer.alloc(2 * SIZE_BYTES);
  for (let at = 0; at < SIZE_BYTES; at += BLOCK) dense.copy(holed, 2 * at, at, at + BLOCK);
  const figures: Figure[] = [];
  for (const [workload, data] of [
    ["dense data", dense],
    ["4 KiB data, 4 KiB hole", holed],
  ] as const) {
    if (!isWanted(workload, options.workloads)) continue;
    const seconds: number[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      const sample = await onCluster(options.folder, async (world) => {
        await world.create("known", Buffer.alloc(BLOCK), 0);
        return await moved(world, data);
      });
      seconds.push(sample.seconds);
      options.progress(`round ${round}  ${workload}  ${sample.seconds.toFixed(2)} s`);
    }
    figures.push(figure({ workload, target: "fingerprints first", metric: "seconds" }, seconds));
  }
  return figures;
}

async function onCluster(
  folder: string,
  work: (world: RebuildWorld) => Promise<Sample>,
): Promise<Sample> {
  const place = fs.mkdtempSync(path.join(folder, "drystone-bench-"));
  const cluster = await ClusterRun.create(path.join(place, "c"), ["--hosts", String(HOSTS)]);
  try {
    return await work(new RebuildWorld(cluster, HOSTS));
  } finally {
    await cluster.kill();
    fs.rmSync(place, { recursive: true, force: true });
  }
}

async function measure(folder: string, share: number, fingerprints: "on" | "off"): Promise<Sample> {
  return await onCluster(folder, async (world) => {
    await world.cluster.cli(1, ["settings", "change", "--fingerprints", fingerprints]);
    const data = randomBytes(1, SIZE_BYTES);
    const known = Buffer.from(data);
    known.fill(0, Math.round((share * SIZE_BYTES) / BLOCK) * BLOCK);
    await world.create("known", known, 0);
    await world.destaged();
    return await moved(world, data);
  });
}

/** Makes a mirror, and moves one of its copies to the host that has the known contents. */
async function moved(world: RebuildWorld, data: Buffer): Promise<Sample> {
  const { cluster } = world;
  const [home] = await world.holders("known");
  // The mirror takes the other three, so that there is one place to go to.
  await cluster.cli(1, ["host", "maintenance", "on", home!, "--mode", "none"]);
  await world.create("mirror", data, 1);
  await cluster.cli(1, ["host", "maintenance", "off", home!]);
  await world.destaged();
  const [leaving] = await world.holders("mirror");
  await cluster.cli(1, ["volume", "detach", "mirror"]);
  await cluster.cli(1, ["host", "maintenance", "on", leaving!, "--mode", "evacuate"]);
  await world.untilWhole(["mirror"], leaving);
  const { bytesSent } = await world.rebuilt();
  return { sentMib: bytesSent / 2 ** 20, seconds: await timeOf(world) };
}

/** By the events of the host that did it. */
async function timeOf(world: RebuildWorld): Promise<number> {
  for (const host of world.hosts.keys()) {
    const { events } = await world.cluster.cli<{
      readonly events: readonly {
        readonly kind: string;
        readonly message: string;
        readonly timeMs: number;
      }[];
    }>(host + 1, ["events"]);
    const of = (kind: string): number | undefined =>
      events.find((one) => one.kind === kind && one.message.includes(" of mirror "))?.timeMs;
    const beganMs = of("component-building");
    const endedMs = of("component-active");
    if (beganMs !== undefined && endedMs !== undefined) return (endedMs - beganMs) / 1000;
  }
  throw new Error("no host tells of the copy");
}
