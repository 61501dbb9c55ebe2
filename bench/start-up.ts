/**
 * How long a host takes to be ready with a large device: 1 TiB of blocks in use, more and more of
 * them with entries in the maps. The maps are made by the store's own code from contents that
 * nobody wrote; the process that is started is the one that users start.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  JsonLog,
  LmdbMetadataStore,
  NativeDigests,
  NodeClock,
  openDisk,
} from "../src/platform/index.ts";
import { FINGERPRINT_BYTES } from "../src/ports/index.ts";
import { Device } from "../src/store/index.ts";
import { MapUpdate } from "../src/store/map-update.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { StartedHost } from "./started-host.ts";

const BLOCK = 4096;
const GIB = 2 ** 30;
const USED_BYTES = 1024 * GIB;
const DEVICE_SIZE = "1100G";
const MIB = 2 ** 20;
/** Of entries in the maps. */
const WORKLOADS = [
  { name: "empty", entriesBytes: 0, usedBytes: 0 },
  { name: "1 TiB used, 1 GiB of entries", entriesBytes: GIB, usedBytes: USED_BYTES },
  { name: "1 TiB used, 8 GiB of entries", entriesBytes: 8 * GIB, usedBytes: USED_BYTES },
] as const;
/** Blocks of one batch: what a large round of destage has. */
const BATCH = 65_536;

export const startUpBenchmark: Benchmark = {
  name: "start-up",
  summary: "From the start of a host's process to ready, with 1 TiB in use",
  defaults: { rounds: 5, seconds: 1, folder: "/var/tmp" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const times = new Map<string, number[]>();
  const processor = new Map<string, number[]>();
  const memory = new Map<string, number[]>();
  try {
    const host = await StartedHost.configure(folder, { deviceSize: DEVICE_SIZE });
    await host.start();
    await host.cli(["volume", "create", "large", "--size", "1T"]);
    const { clusterId } = await host.cli<{ readonly clusterId: string }>(["status"]);
    await host.stop();
    const maps = new LargeMaps(path.join(folder, "device"), clusterId);
    for (const { name, entriesBytes, usedBytes } of WORKLOADS) {
      if (!isWanted(name, options.workloads)) continue;
      options.progress(`making the maps: ${name}`);
      await maps.grow(entriesBytes / BLOCK, usedBytes / BLOCK);
      for (let round = 1; round <= options.rounds; round++) {
        const { ms, cpuMs, residentBytes } = await host.start();
        await host.stop();
        times.set(name, [...(times.get(name) ?? []), ms]);
        processor.set(name, [...(processor.get(name) ?? []), cpuMs]);
        memory.set(name, [...(memory.get(name) ?? []), residentBytes / MIB]);
        options.progress(`round ${round}  ${name}  ready after ${ms.toFixed(0)} ms`);
      }
    }
    const figures = [
      ...figuresOf("ready ms", times),
      ...figuresOf("processor ms", processor),
      ...figuresOf("resident MiB", memory),
    ];
    return { figures, notes };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

const notes = [
  "from the start of the process to the line that says ready, compilation and all",
  "blocks that are in use without an entry are marked in the space map, which is read whole",
  "the page cache is warm",
];

function figuresOf(metric: string, values: ReadonlyMap<string, readonly number[]>): Figure[] {
  return [...values].map(([workload, all]) => figure({ workload, target: "host", metric }, all));
}

/** The maps of the device of a host that does not run. */
class LargeMaps {
  readonly #folder: string;
  readonly #clusterId: string;
  #mapped = 0;

  constructor(folder: string, clusterId: string) {
    this.#folder = folder;
    this.#clusterId = clusterId;
  }

  /** Until so many blocks have an entry and so many are in use. */
  async grow(entries: number, used: number): Promise<void> {
    const disk = openDisk(path.join(this.#folder, "data"), {
      directWrites: true,
      head: { path: path.join(this.#folder, "journal") },
    });
    const metadata = await LmdbMetadataStore.open(path.join(this.#folder, "metadata", "data.mdb"));
    const log = new JsonLog(process.stderr, { level: "error" });
    const ports = { disk, metadata, digests: new NativeDigests(), clock: new NodeClock(), log };
    const device = await Device.open(ports, { clusterId: this.#clusterId });
    while (this.#mapped < entries) await this.#map(device, Math.min(BATCH, entries - this.#mapped));
    const { space } = device.state;
    while (space.usedBlocks < used) assert.ok(space.allocate() !== undefined, "the device is full");
    await new MapUpdate(device.state).commit(() => {});
    await device.close();
  }

  async #map(device: Device, count: number): Promise<void> {
    const info = device.state.components.all().find(({ blockCount }) => blockCount > 0);
    assert.ok(info !== undefined, "the device has the volume's component");
    const update = new MapUpdate(device.state);
    const fingerprint = Buffer.alloc(FINGERPRINT_BYTES, 1);
    for (let i = 0; i < count; i++) {
      const block = this.#mapped + i;
      // In order, so that making them is quick; what is found by them costs the same.
      fingerprint.writeUInt32BE(block, 0);
      const content = update.contents.acquire(fingerprint, 0);
      update.map(info, block, 1, { content, checksum: block });
    }
    await update.commit(() => {});
    this.#mapped += count;
  }
}
