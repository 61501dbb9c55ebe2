/**
 * One device by itself, on the real adapters: durable writes and verified reads at a queue depth,
 * and destage with SHA-256, without sockets and protocol. CPU time is of the whole process, threads
 * included.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { BLOCK_SIZE_BYTES, Prng } from "../src/base/index.ts";
import {
  JsonLog,
  LmdbMetadataStore,
  NativeDigests,
  NodeClock,
  openDisk,
} from "../src/platform/index.ts";
import { Device } from "../src/store/index.ts";
import type { Component, ComponentFault, Transaction } from "../src/store/index.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, Figure } from "./benchmark.ts";

const CLUSTER_ID = "c1".repeat(16);
const COMPONENT_ID = "a0".repeat(16);
const VOLUME_BLOCKS = 65_536;
const DEVICE_BYTES = 2 ** 31;
const JOURNAL_BYTES = 256 << 20;
/** As a host with default settings. */
const RESIDENT_BYTES_MAX = 284 << 20;
const LOG = { bytes: 32 << 20, tableBytes: 16 << 20, mayBegin: true };

type Answer = (fault: ComponentFault | undefined) => void;

interface Run {
  readonly operations: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly bytes: number;
}

async function openBench(folder: string): Promise<{ device: Device; component: Component }> {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const disk = openDisk(path.join(folder, "data"), {
    createSizeBytes: DEVICE_BYTES,
    directWrites: true,
    head: { path: path.join(folder, "journal"), createSizeBytes: (1 << 20) + JOURNAL_BYTES },
  });
  const metadata = await LmdbMetadataStore.open(path.join(folder, "metadata.mdb"), {
    residentBytesMax: RESIDENT_BYTES_MAX,
    log: LOG,
  });
  const log = new JsonLog(process.stderr, { level: "error" });
  const ports = { disk, metadata, digests: new NativeDigests(), clock: new NodeClock(), log };
  await Device.format(ports, {
    clusterId: CLUSTER_ID,
    hostId: CLUSTER_ID,
    deviceId: COMPONENT_ID,
    journalBytes: JOURNAL_BYTES,
  });
  const device = await Device.open(ports, { clusterId: CLUSTER_ID });
  const sizeBytes = VOLUME_BLOCKS * BLOCK_SIZE_BYTES;
  const component = await device.createComponent({
    componentId: COMPONENT_ID,
    objectId: COMPONENT_ID,
    sizeBytes,
  });
  await component.open(1);
  return { device, component };
}

/** Keeps `depth` requests under way for `seconds`; `start` begins one and calls back at its end. */
function drive(
  run: { readonly depth: number; readonly seconds: number; readonly bytesEach: number },
  start: (done: Answer) => void,
  submit: () => void,
): Promise<Run> {
  const cpu = process.cpuUsage();
  const begin = performance.now();
  const end = begin + run.seconds * 1000;
  let operations = 0;
  let active = 0;
  return new Promise((resolve, reject) => {
    let refill = false;
    const done = (fault: ComponentFault | undefined): void => {
      if (fault !== undefined) reject(new Error(fault));
      active--;
      operations++;
      if (refill) return;
      refill = true;
      setImmediate(fill);
    };
    const fill = (): void => {
      refill = false;
      if (performance.now() < end) {
        while (active < run.depth) {
          active++;
          start(done);
        }
        submit();
      } else if (active === 0) {
        const used = process.cpuUsage(cpu);
        resolve({
          operations,
          seconds: (performance.now() - begin) / 1000,
          cpuSeconds: (used.user + used.system) / 1e6,
          bytes: operations * run.bytesEach,
        });
      }
    };
    fill();
  });
}

class Writer {
  readonly #component: Component;
  readonly #prng = new Prng(1);
  readonly #source: Uint8Array;
  readonly #transaction: Transaction;
  #waiting: (() => void)[] = [];
  #sequence = 0;
  #serial = 0;
  #next = 0;

  constructor(component: Component, blockCount: number) {
    this.#component = component;
    this.#source = new Uint8Array(blockCount * BLOCK_SIZE_BYTES);
    this.#prng.fill(this.#source);
    const { epoch, kind } = { epoch: 1, kind: "data" as const };
    const source = this.#source;
    this.#transaction = {
      epoch,
      sequence: 0,
      kind,
      blockIndex: 0,
      blockCount,
      source,
      sourceAt: 0,
    };
  }

  continueAfter(sequence: number): this {
    this.#sequence = sequence;
    return this;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** Random places, or one after the other; every block is different. */
  write(random: boolean, done: Answer): void {
    const transaction = this.#transaction;
    const places = VOLUME_BLOCKS / transaction.blockCount;
    const place = random ? this.#prng.below(places) : this.#next++ % places;
    const attempt = (): void => {
      transaction.blockIndex = place * transaction.blockCount;
      transaction.sequence = this.#sequence + 1;
      for (let i = 0; i < transaction.blockCount; i++) {
        new DataView(this.#source.buffer).setUint32(i * BLOCK_SIZE_BYTES, ++this.#serial, true);
      }
      const isTaken = this.#component.prepare(
        transaction,
        (sequence, fault) => {
          if (fault === undefined) this.#component.commit(1, sequence);
          done(fault);
        },
        transaction.sequence,
      );
      if (isTaken) {
        this.#sequence++;
        return;
      }
      this.#waiting.push(attempt);
      if (this.#waiting.length > 1) return;
      this.#component.onRoom(() => {
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const again of waiting) again();
        this.#component.submit();
      });
    };
    attempt();
  }
}

function figuresOf(workload: string, runs: readonly Run[]): Figure[] {
  const named = (metric: string, of: (run: Run) => number): Figure =>
    figure({ workload, target: "device", metric }, runs.map(of));
  return [
    named("operations/s", (run) => run.operations / run.seconds),
    named("MB/s", (run) => run.bytes / run.seconds / 1e6),
    named("CPU us/operation", (run) => (run.cpuSeconds * 1e6) / run.operations),
    named("MB/s per core", (run) => run.bytes / run.cpuSeconds / 1e6),
  ];
}

class StoreRuns {
  readonly figures: Figure[] = [];
  readonly #options: BenchmarkOptions;
  readonly #device: Device;
  readonly #component: Component;
  #sequence = 0;

  constructor(options: BenchmarkOptions, device: Device, component: Component) {
    this.#options = options;
    this.#device = device;
    this.#component = component;
  }

  /** Random or sequential by the workload's name; each round ends with destage, measured apart. */
  async writes(workload: string, blocks: number, depth: number): Promise<void> {
    const { rounds, seconds, workloads } = this.#options;
    if (!isWanted(workload, workloads)) return;
    const runs: Run[] = [];
    const destages: Run[] = [];
    const isRandom = workload.includes("random");
    for (let round = 0; round < rounds; round++) {
      const writer = new Writer(this.#component, blocks).continueAfter(this.#sequence);
      const load = { depth, seconds, bytesEach: blocks * BLOCK_SIZE_BYTES };
      const start = (done: Answer): void => writer.write(isRandom, done);
      runs.push(await drive(load, start, () => this.#component.submit()));
      this.#sequence = writer.sequence;
      destages.push(await this.#destage());
      this.#options.progress(`${workload} ${round + 1}/${rounds}`);
    }
    this.figures.push(...figuresOf(workload, runs));
    this.figures.push(...figuresOf(`${workload}, destage`, destages));
  }

  async #destage(): Promise<Run> {
    const bytes = this.#device.stats().journal.pendingBytes;
    const cpu = process.cpuUsage();
    const begin = performance.now();
    await this.#device.destage();
    const used = process.cpuUsage(cpu);
    return {
      operations: Math.max(1, bytes / BLOCK_SIZE_BYTES),
      seconds: (performance.now() - begin) / 1000,
      cpuSeconds: (used.user + used.system) / 1e6,
      bytes,
    };
  }

  async reads(workload: string, depth: number): Promise<void> {
    const { rounds, seconds, workloads } = this.#options;
    if (!isWanted(workload, workloads)) return;
    const runs: Run[] = [];
    const prng = new Prng(3);
    const component = this.#component;
    const memories = Array.from({ length: depth }, () => this.#device.allocate(BLOCK_SIZE_BYTES));
    const start = (done: Answer): void => {
      const memory = memories.pop()!;
      const answer = (_token: number, fault: ComponentFault | undefined): void => {
        memories.push(memory);
        done(fault);
      };
      component.read(memory, 0, prng.below(VOLUME_BLOCKS), 1, answer, 0);
    };
    for (let round = 0; round < rounds; round++) {
      const load = { depth, seconds, bytesEach: BLOCK_SIZE_BYTES };
      runs.push(await drive(load, start, () => component.submit()));
      this.#options.progress(`${workload} ${round + 1}/${rounds}`);
    }
    this.figures.push(...figuresOf(workload, runs));
  }
}

export const storeBenchmark: Benchmark = {
  name: "store",
  summary: "one device without protocol: durable writes, verified reads, destage",
  defaults: { rounds: 3, seconds: 2, folder: "/dev/shm" },
  async run(options) {
    const folder = path.join(options.folder, `drystone-bench-store-${process.pid}`);
    const { device, component } = await openBench(folder);
    // The product's timers keep no process alive; a benchmark that waits for one must.
    const alive = setInterval(() => {}, 60_000);
    const runs = new StoreRuns(options, device, component);
    await runs.writes("sequential 128k write QD8", 32, 8);
    await runs.writes("random 4k write QD32", 1, 32);
    await runs.writes("random 4k write QD1", 1, 1);
    await runs.reads("random 4k read QD32", 32);
    await runs.reads("random 4k read QD1", 1);
    await device.close();
    clearInterval(alive);
    fs.rmSync(folder, { recursive: true, force: true });
    const notes = ["every write is durable when answered; every block is different"];
    return { figures: runs.figures, notes };
  },
};
