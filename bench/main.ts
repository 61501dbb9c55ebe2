/**
 * The benchmark runner.
 *
 *   npm run bench -- cache ...           simulates replacement policies: see bench/cache.ts
 *   npm run bench -- peers ...           beside everybody who is installed: see bench/peers.ts
 *   npm run bench -- rebuild-peers ...   a copy made anew beside Ceph and Gluster
 *   npm run bench -- debian-rebuild ...  a wiped disk under Debian installations
 *   npm run bench -- NAME [--rounds N] [--seconds S] [--dir FOLDER] [--only PART] [--target PART]
 *       [--json] [--record]
 *
 * Prints a table, or the result as JSON; the JSON goes to .cache/bench/NAME.json too. `--record`
 * appends it to bench/history.jsonl, which is in the repository: figures are kept on purpose, not
 * by accident.
 */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { programOptions } from "../scripts/program-options.ts";
import { endProcessesWith, markChildren } from "../scripts/left-processes.ts";
import type { Benchmark, BenchmarkResult, Figure } from "./benchmark.ts";
import { budgetBenchmark } from "./budget.ts";
import { cacheSpeedBenchmark } from "./cache-speed.ts";
import { run as runCacheSimulator } from "./cache.ts";
import { cipherBenchmark } from "./cipher.ts";
import { run as runDebianRebuild } from "./debian-rebuild.ts";
import { destageBenchmark } from "./destage.ts";
import { failoverBenchmark } from "./failover.ts";
import { memoryBenchmark } from "./memory.ts";
import { mirrorBenchmark } from "./mirror.ts";
import { nbdBenchmark } from "./nbd.ts";
import { objectBenchmark } from "./object.ts";
import { run as runPeers } from "./peers.ts";
import { rebuildBenchmark } from "./rebuild.ts";
import { run as runRebuildPeers } from "./rebuild-peers.ts";
import { relayBenchmark } from "./relay.ts";
import { startUpBenchmark } from "./start-up.ts";
import { scaleBenchmark } from "./scale.ts";
import { sectionsBenchmark } from "./sections.ts";
import { stallsBenchmark } from "./stalls.ts";
import { storeBenchmark } from "./store.ts";
import { vhostBenchmark } from "./vhost.ts";

const BENCHMARKS: readonly Benchmark[] = [
  vhostBenchmark,
  sectionsBenchmark,
  nbdBenchmark,
  mirrorBenchmark,
  budgetBenchmark,
  memoryBenchmark,
  rebuildBenchmark,
  relayBenchmark,
  stallsBenchmark,
  failoverBenchmark,
  startUpBenchmark,
  scaleBenchmark,
  destageBenchmark,
  objectBenchmark,
  storeBenchmark,
  cacheSpeedBenchmark,
  cipherBenchmark,
];
/** Programs with options of their own. */
const PROGRAMS: ReadonlyMap<string, (args: readonly string[]) => Promise<void>> = new Map([
  ["cache", runCacheSimulator],
  ["debian-rebuild", runDebianRebuild],
  ["peers", runPeers],
  ["rebuild-peers", runRebuildPeers],
]);
const ROUNDS_MAX = 100;
const SECONDS_MAX = 3600;

/** A benchmark that is interrupted leaves no hosts, guests and peers to slow down the next one. */
const mark = markChildren();
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => {
    for (const { pid, command } of endProcessesWith(mark))
      console.error(`ended: ${pid} ${command}`);
    process.exit(code);
  });

const repository = fileURLToPath(new URL("../..", import.meta.url));

const args = process.argv.slice(2);
const program = PROGRAMS.get(args[0] ?? "");

const { values, positionals } = programOptions("bench", import.meta.url, {
  args: program === undefined ? args : [],
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    seconds: { type: "string" },
    dir: { type: "string" },
    only: { type: "string", multiple: true, default: [] },
    target: { type: "string", multiple: true, default: [] },
    json: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
});

function numberOption(name: "rounds" | "seconds", fallback: number, max: number): number {
  const text = values[name];
  if (text === undefined) return fallback;
  const number = Number(text);
  if (number > 0 && number <= max && (name === "seconds" || Number.isInteger(number)))
    return number;
  throw new Error(`--${name} ${text}: expected a number from 1 to ${max}`);
}

function describeMachine() {
  return {
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    kernel: os.release(),
    node: process.version,
  };
}

function commit(): string {
  const git = ["describe", "--always", "--dirty", "--abbrev=10"];
  return execFileSync("git", git, { cwd: repository, encoding: "utf8" }).trim();
}

function significant(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}

/**
 * One line per workload and target, one column per metric; targets with the same metrics together.
 */
function printTables(figures: readonly Figure[]): void {
  const lines = new Map<string, Figure[]>();
  for (const item of figures) {
    const key = `${item.workload}\n${item.target}`;
    lines.set(key, [...(lines.get(key) ?? []), item]);
  }
  const tables = new Map<string, string[][]>();
  for (const items of lines.values()) {
    const metrics = items.map((item) => item.metric);
    const heading = ["workload", "target", ...metrics, `spread of ${metrics[0]}`];
    const table = tables.get(metrics.join("\n")) ?? [heading];
    const { workload, target, min, max } = items[0]!;
    const medians = items.map((item) => significant(item.median));
    table.push([workload, target, ...medians, `${significant(min)} .. ${significant(max)}`]);
    tables.set(metrics.join("\n"), table);
  }
  for (const table of tables.values()) printTable(table);
}

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const isNumber = (column: number): boolean => column >= 2 && column < widths.length - 1;
  for (const row of rows) {
    const cells = row.map((text, column) =>
      isNumber(column) ? text.padStart(widths[column]!) : text.padEnd(widths[column]!),
    );
    console.log(cells.join("  ").trimEnd());
  }
  console.log();
}

function keep(name: string, report: object): void {
  const folder = path.join(repository, ".cache/bench");
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, `${name}.json`), `${JSON.stringify(report, undefined, 2)}\n`);
  if (!values.record) return;
  fs.appendFileSync(path.join(repository, "bench/history.jsonl"), `${JSON.stringify(report)}\n`);
}

async function main(): Promise<void> {
  const wanted = positionals[0];
  const benchmark = BENCHMARKS.find((candidate) => candidate.name === wanted);
  if (benchmark === undefined || positionals.length > 1) {
    for (const { name, summary } of BENCHMARKS) console.error(`${name}  ${summary}`);
    for (const name of PROGRAMS.keys()) console.error(`${name}  with options of its own`);
    throw new Error(`expected the name of one benchmark, got "${positionals.join(" ")}"`);
  }
  const { defaults } = benchmark;
  const options = {
    rounds: numberOption("rounds", defaults.rounds, ROUNDS_MAX),
    seconds: numberOption("seconds", defaults.seconds, SECONDS_MAX),
    folder: values.dir ?? defaults.folder,
    workloads: values.only,
    targets: values.target,
    progress: (line: string) => console.error(line),
  };
  const at = new Date().toISOString();
  const result: BenchmarkResult = await benchmark.run(options);
  const { rounds, seconds, folder } = options;
  const setting = { rounds, seconds, folder, machine: describeMachine() };
  const report = { benchmark: benchmark.name, at, commit: commit(), ...setting, ...result };
  keep(benchmark.name, report);
  if (values.json) {
    console.log(JSON.stringify(report, undefined, 2));
    return;
  }
  printTables(result.figures);
  for (const note of result.notes) console.log(`- ${note}`);
}

await (program === undefined ? main() : program(args.slice(1))).catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
