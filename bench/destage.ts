/**
 * How fast one device moves committed blocks from its journal to the block store, and what that
 * costs: fingerprints (SHA-256), content map, large writes, one metadata transaction per batch. The
 * journal's own writes are done before the clock starts. Beside it SHA-256 alone, which is what
 * destage cannot beat.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { BLOCK_SIZE_BYTES, Prng } from "../src/base/index.ts";
import { LmdbMetadataStore, NativeDigests, NodeClock, openDisk } from "../src/platform/index.ts";
import { FINGERPRINT_BYTES } from "../src/ports/index.ts";
import { Device } from "../src/store/index.ts";
import type { Component } from "../src/store/index.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";

interface Used {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
}

const BATCH_BYTES = 64 << 20;
const BATCH_BLOCKS = BATCH_BYTES / BLOCK_SIZE_BYTES;
/** Small enough to go through the journal, and not straight to the block store. */
const TRANSACTION_BLOCKS = 8;
const JOURNAL_MEMORY_BYTES = 256 << 20;
/** As a host with default settings, and with the journal of this benchmark. */
const RESIDENT_BYTES_MAX = JOURNAL_MEMORY_BYTES + (284 << 20);
/** What precedes the journal. */
const SUPERBLOCKS_BYTES = 1 << 20;
const DEVICE_BYTES = 32 * 2 ** 30;
const CLUSTER_ID = "0b".repeat(16);
const EPOCH = 1;

export const destageBenchmark: Benchmark = {
  name: "destage",
  summary: "Journal to block store on one device: MB/s, and MB/s for each core it keeps busy",
  defaults: { rounds: 9, seconds: 1, folder: "/var/tmp" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const device = await makeDevice(folder);
  // Timers of the clock and hashing threads keep no process alive, as a host wants it.
  const alive = setInterval(() => undefined, 60_000);
  try {
    const bench = await DestageBench.create(device);
    const workloads = {
      "sha256-alone": () => bench.fingerprintOnly(),
      "destage-new-data": () => bench.destageNew(),
      "destage-duplicates": () => bench.destageDuplicates(),
    };
    const used = new Map<string, Used[]>();
    // The first round warms the compiler and is thrown away.
    for (let round = 0; round <= options.rounds; round++) {
      for (const [name, work] of Object.entries(workloads)) {
        const sample = await work();
        if (round === 0 || !isWanted(name, options.workloads)) continue;
        used.set(name, [...(used.get(name) ?? []), sample]);
      }
      options.progress(`round ${round} of ${options.rounds}`);
    }
    return { figures: [...used].flatMap(([name, list]) => figuresOf(name, list)), notes: notes() };
  } finally {
    await device.close();
    clearInterval(alive);
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function makeDevice(folder: string): Promise<Device> {
  const journalBytes = 2 * JOURNAL_MEMORY_BYTES;
  const disk = openDisk(path.join(folder, "data"), {
    createSizeBytes: DEVICE_BYTES,
    directWrites: true,
    head: { path: path.join(folder, "journal"), createSizeBytes: SUPERBLOCKS_BYTES + journalBytes },
  });
  const metadata = await LmdbMetadataStore.open(path.join(folder, "metadata"), {
    residentBytesMax: RESIDENT_BYTES_MAX,
  });
  const log = { write: (): void => undefined };
  const ports = { disk, metadata, digests: new NativeDigests(), clock: new NodeClock(), log };
  const ids = { clusterId: CLUSTER_ID, hostId: "0c".repeat(16), deviceId: "0d".repeat(16) };
  await Device.format(ports, { ...ids, journalBytes });
  const { clusterId } = ids;
  return await Device.open(ports, { clusterId, journalMemoryBytes: JOURNAL_MEMORY_BYTES });
}

class DestageBench {
  readonly #device: Device;
  readonly #component: Component;
  readonly #prng = new Prng(1);
  readonly #data: Buffer = Buffer.alloc(BATCH_BYTES);
  #sequence = 0;
  #blockNext = 0;

  private constructor(device: Device, component: Component) {
    this.#device = device;
    this.#component = component;
  }

  static async create(device: Device): Promise<DestageBench> {
    const component = await device.createComponent({
      componentId: "0e".repeat(16),
      objectId: "0f".repeat(16),
      sizeBytes: DEVICE_BYTES * 4,
    });
    await component.open(EPOCH);
    return new DestageBench(device, component);
  }

  async fingerprintOnly(): Promise<Used> {
    const { digests, disk } = this.#device.state;
    const memory = disk.allocate(1 << 20);
    memory.bytes.set(this.#data.subarray(0, 1 << 20));
    const count = (1 << 20) / BLOCK_SIZE_BYTES;
    const offsets = Float64Array.from({ length: count }, (_, index) => index * BLOCK_SIZE_BYTES);
    const target = new Uint8Array(count * FINGERPRINT_BYTES);
    return await measured(async () => {
      for (let done = 0; done < BATCH_BYTES; done += 1 << 20) {
        await digests.fingerprint(memory, offsets, count, target);
      }
    });
  }

  async destageNew(): Promise<Used> {
    this.#prng.fill(this.#data.subarray(0, 1 << 16));
    // Each block is unlike every other: random head, then its own number.
    for (let block = 0; block < BATCH_BLOCKS; block++) {
      const at = block * BLOCK_SIZE_BYTES;
      this.#data.copyWithin(at, 0, BLOCK_SIZE_BYTES);
      this.#data.writeUInt32LE(block, at);
      this.#data.writeUInt32LE(this.#prng.u32(), at + 4);
      this.#data.writeUInt32LE(this.#prng.u32(), at + 8);
    }
    return await this.#destageBatch();
  }

  /** The same contents as the last batch, at other places of the volume. */
  async destageDuplicates(): Promise<Used> {
    return await this.#destageBatch();
  }

  async #destageBatch(): Promise<Used> {
    await this.#prepareBatch();
    this.#component.commit(EPOCH, this.#sequence);
    return await measured(() => this.#device.destage());
  }

  /** Resolves when the whole batch is durable in the journal; nothing of it is committed yet. */
  async #prepareBatch(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      let left = BATCH_BLOCKS / TRANSACTION_BLOCKS;
      const done = (_token: number, fault: string | undefined): void => {
        if (fault !== undefined) reject(new Error(`journal: ${fault}`));
        else if (--left === 0) resolve();
      };
      for (let block = 0; block < BATCH_BLOCKS; block += TRANSACTION_BLOCKS) {
        const isTaken = this.#component.prepare(
          {
            epoch: EPOCH,
            sequence: ++this.#sequence,
            kind: "data",
            blockIndex: this.#blockNext + block,
            blockCount: TRANSACTION_BLOCKS,
            source: this.#data,
            sourceAt: block * BLOCK_SIZE_BYTES,
          },
          done,
          0,
        );
        if (!isTaken) throw new Error("the batch does not fit into journal memory");
      }
      this.#component.submit();
    });
    this.#blockNext += BATCH_BLOCKS;
  }
}

/** CPU time is of the whole process: threads that hash count too. */
async function measured(work: () => Promise<void>): Promise<Used> {
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  await work();
  const wallSeconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { wallSeconds, cpuSeconds: (user + system) / 1e6 };
}

function figuresOf(workload: string, used: readonly Used[]): Figure[] {
  const megabytes = BATCH_BYTES / 1e6;
  const name = { workload, target: "drystone" };
  return [
    figure(
      { ...name, metric: "MB/s per core" },
      used.map((one) => megabytes / one.cpuSeconds),
    ),
    figure(
      { ...name, metric: "MB/s" },
      used.map((one) => megabytes / one.wallSeconds),
    ),
    figure(
      { ...name, metric: "CPU us/block" },
      used.map((one) => (one.cpuSeconds * 1e6) / BATCH_BLOCKS),
    ),
  ];
}

function notes(): string[] {
  return [
    `batches of ${BATCH_BYTES >> 20} MiB, all of it durable in the journal before the clock starts`,
    "MB/s per core: data over the CPU time of all threads; MB/s: data over elapsed time, flushes included",
  ];
}
