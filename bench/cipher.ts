/**
 * What encryption at rest costs: blocks encrypted and decrypted one after the other on one core, by
 * the CPU time that it takes, which other work on the machine does not change. Beside it SHA-256
 * alone, which destage pays for each block anyway.
 */
import { createHash } from "node:crypto";
import { BLOCK_SIZE_BYTES, Prng } from "../src/base/index.ts";
import { WideBlockCipher } from "../src/platform/index.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult } from "./benchmark.ts";

const BATCH_BYTES = 4 << 20;
const MICROSECONDS = 1_000_000;

export const cipherBenchmark: Benchmark = {
  name: "cipher",
  summary: "Encryption at rest: MB/s of one core that does nothing else, and microseconds a block",
  defaults: { rounds: 9, seconds: 0.5, folder: "/var/tmp" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const prng = new Prng(1);
  const source = Uint8Array.from({ length: BATCH_BYTES }, () => prng.below(256));
  const target = new Uint8Array(BATCH_BYTES);
  const cipher = new WideBlockCipher(new Uint8Array(32).fill(1));
  const works: Readonly<Record<string, (at: number) => void>> = {
    encrypt: (at) => cipher.encrypt(source, at, target, at),
    decrypt: (at) => cipher.decrypt(source, at, target, at),
    "sha256-alone": (at) =>
      void createHash("sha256")
        .update(source.subarray(at, at + BLOCK_SIZE_BYTES))
        .digest(),
  };
  const micros = new Map<string, number[]>();
  // The first round warms the compiler and is thrown away.
  for (let round = 0; round <= options.rounds; round++) {
    for (const [name, work] of Object.entries(works)) {
      if (!isWanted(name, options.workloads)) continue;
      const used = microsecondsOf(work, options.seconds);
      if (round > 0) micros.set(name, [...(micros.get(name) ?? []), used]);
    }
    options.progress(`round ${round} of ${options.rounds}`);
  }
  const figures = [...micros].flatMap(([workload, list]) => {
    const name = { workload, target: "one core" } as const;
    const speeds = list.map((used) => BLOCK_SIZE_BYTES / used);
    return [
      figure({ ...name, metric: "MB/s" }, speeds),
      figure({ ...name, metric: "us/block" }, list),
    ];
  });
  return { figures, notes: ["CPU time, user and system: MB/s are those of a core of its own"] };
}

function microsecondsOf(work: (at: number) => void, seconds: number): number {
  const start = process.cpuUsage();
  let blocks = 0;
  for (;;) {
    for (let at = 0; at < BATCH_BYTES; at += BLOCK_SIZE_BYTES) work(at);
    blocks += BATCH_BYTES / BLOCK_SIZE_BYTES;
    const { user, system } = process.cpuUsage(start);
    if (user + system >= seconds * MICROSECONDS) return (user + system) / blocks;
  }
}
