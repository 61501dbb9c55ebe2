/**
 * A copy of a disk made anew beside Ceph's backfill and Gluster's heal of as much data:
 *
 *   npm run bench -- rebuild-peers [--size 4G] [--rounds N] [--target PART] [--dir FOLDER]
 *       [--json FILE] [--record]
 *
 * Ours with none and with 95 % of the contents on the destination already, for another volume.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { programOptions } from "../scripts/program-options.ts";
import { REPOSITORY } from "../scripts/repository.ts";
import { markdownTable } from "../scripts/docs-tables/markdown-table.ts";
import { parseSize } from "../src/base/index.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Figure } from "./benchmark.ts";
import { lookWhereRootLooks, missingOf } from "./peers/catalogue.ts";
import { copyCeph, copyGluster, copyOurs } from "./peers/copies.ts";
import type { Copied } from "./peers/copies.ts";
import { enclosedScratch, handOut, runEnclosed } from "./peers/enclosure.ts";
import { factLines, facts, saySkipped } from "./peers/facts.ts";
import type { Facts, Loads } from "./peers/facts.ts";
import { withMeasured } from "./peers/page.ts";

const PAGE = "docs/performance/peers.md";
const ROUNDS_MAX = 20;
const SYSTEMS: readonly {
  readonly name: string;
  readonly peer?: string;
  copy(folder: string, sizeBytes: number): Promise<Copied>;
}[] = [
  { name: "drystone, 0 % known", copy: (folder, size) => copyOurs(folder, size, 0) },
  { name: "drystone, 95 % known", copy: (folder, size) => copyOurs(folder, size, 0.95) },
  { name: "ceph", peer: "ceph", copy: copyCeph },
  { name: "gluster", peer: "gluster", copy: copyGluster },
];
const PEER_NAMES = ["ceph", "gluster"];

interface Report extends Facts {
  readonly sizeBytes: number;
  readonly rounds: number;
  readonly folder: string;
  readonly load: Loads;
  readonly figures: readonly Figure[];
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = programOptions("bench", import.meta.url, {
    args: [...args],
    options: {
      size: { type: "string", default: "4G" },
      rounds: { type: "string", default: "1" },
      target: { type: "string", multiple: true, default: [] },
      dir: { type: "string" },
      json: { type: "string" },
      record: { type: "boolean", default: false },
    },
  });
  lookWhereRootLooks();
  const sizeBytes = parseSize(values.size);
  if (sizeBytes === undefined || sizeBytes < 64 << 20)
    throw new Error(`--size ${values.size}: expected a size of at least 64M`);
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX)
    throw new Error(`--rounds ${values.rounds}: expected a whole number from 1 to ${ROUNDS_MAX}`);
  const scratch = enclosedScratch();
  if (scratch !== undefined) {
    const copied = await measureAll(scratch.memory, sizeBytes, rounds, values.target);
    return handOut(scratch, figuresOfCopies(copied, sizeBytes));
  }
  saySkipped(PEER_NAMES);
  if (values.dir === undefined) needMemory(sizeBytes);
  const known = facts(PEER_NAMES);
  const before = os.loadavg();
  const figures = await runEnclosed<readonly Figure[]>(["rebuild-peers", ...args], values.dir);
  const load = { before, after: os.loadavg() };
  const folder = values.dir ?? "tmpfs";
  tell({ ...known, sizeBytes, rounds, folder, load, figures }, values);
}

/** Three copies at a time, and what the processes need. */
function needMemory(sizeBytes: number): void {
  const text = fs.readFileSync("/proc/meminfo", "utf8");
  const available = Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
  const needed = 3.4 * sizeBytes + 2 * 2 ** 30;
  if (available >= needed) return;
  const [needs, has] = [needed, available].map((bytes) => (bytes / 2 ** 30).toFixed(1));
  throw new Error(
    `${needs} GiB of memory are needed, ${has} are available: give a smaller --size, or --dir`,
  );
}

type AllCopied = ReadonlyMap<string, readonly Copied[]>;

async function measureAll(
  folder: string,
  sizeBytes: number,
  rounds: number,
  targets: readonly string[],
): Promise<AllCopied> {
  const all = new Map<string, Copied[]>();
  for (let round = 1; round <= rounds; round++) {
    for (const system of SYSTEMS) {
      const { name, peer } = system;
      if (!isWanted(name, targets)) continue;
      if (peer !== undefined && missingOf(peer) !== undefined) continue;
      console.error(`round ${round}  ${name}: filling`);
      const copied = await system.copy(folder, sizeBytes);
      all.set(name, [...(all.get(name) ?? []), copied]);
      const took = `in ${copied.seconds.toFixed(2)} s, ${copied.cpuSeconds.toFixed(1)} s of CPU`;
      const what = `${copied.wireMib.toFixed(1)} MiB ${took}`;
      console.error(`round ${round}  ${name}: ${what}`);
    }
  }
  return all;
}

/** Of each system, and of each of ours over each peer's, round by round. */
export function figuresOfCopies(all: AllCopied, sizeBytes: number): readonly Figure[] {
  const workload = `a copy of ${sizeBytes / 2 ** 20} MiB`;
  const figures: Figure[] = [];
  for (const [target, copies] of all) {
    const add = (metric: string, pick: (copied: Copied) => number): void =>
      void figures.push(figure({ workload, target, metric }, copies.map(pick)));
    add("MiB on the wire", ({ wireMib }) => wireMib);
    add("seconds", ({ seconds }) => seconds);
    add("CPU seconds", ({ cpuSeconds }) => cpuSeconds);
    add("MB/s", ({ seconds }) => sizeBytes / 1e6 / seconds);
  }
  for (const [ours, mine] of [...all].filter(([name]) => name.startsWith("drystone"))) {
    for (const [peer, theirs] of [...all].filter(([name]) => !name.startsWith("drystone"))) {
      const target = `${ours} / ${peer}`;
      const add = (metric: string, pick: (ours: Copied, theirs: Copied) => number): void => {
        const values = mine.map((copied, round) => pick(copied, theirs[round]!));
        figures.push(figure({ workload, target, metric }, values));
      };
      add("ratio of bytes", (a, b) => a.wireMib / b.wireMib);
      add("ratio of CPU", (a, b) => a.cpuSeconds / b.cpuSeconds);
      add("ratio of speed", (a, b) => b.seconds / a.seconds);
    }
  }
  return figures;
}

/** Goals: at 0 % twice Ceph's speed; at 95 % at most 8 % of its bytes, five times as fast. */
export function rebuildTables({ figures }: { readonly figures: readonly Figure[] }): string {
  const targets = [...new Set(figures.map(({ target }) => target))];
  const cells = (target: string, metrics: readonly string[]): readonly string[] | undefined => {
    const found = metrics.map((metric) =>
      figures.find((one) => one.target === target && one.metric === metric),
    );
    if (found.includes(undefined)) return undefined;
    return [target, ...found.map((one) => spread(one!))];
  };
  const table = (header: readonly string[]): string => {
    const rows = targets.map((target) => cells(target, header.slice(1)));
    return markdownTable(
      header,
      rows.filter((row) => row !== undefined),
    );
  };
  const systems = table(["system", "MiB on the wire", "seconds", "MB/s", "CPU seconds"]);
  const ratios = table(["ours / theirs", "ratio of bytes", "ratio of speed", "ratio of CPU"]);
  const goals =
    "Goals beside Ceph: at 0 % twice its speed; at 95 % at most 0.08 of its bytes and 5 times its speed.";
  return [systems, "", ratios, "", goals].join("\n");
}

function spread({ median, min, max, runs }: Figure): string {
  const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  return runs === 1 ? short(median) : `${short(median)} (${short(min)} - ${short(max)})`;
}

function tell(
  report: Report,
  { json, record }: { readonly json?: string | undefined; readonly record: boolean },
): void {
  const text = `${JSON.stringify(report, undefined, 2)}\n`;
  const folder = path.join(REPOSITORY, ".cache/bench");
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, "rebuild-peers.json"), text);
  if (json !== undefined) fs.writeFileSync(json, text);
  const runs = `${report.rounds} interleaved rounds; everything on ${report.folder}.`;
  const body = [...factLines(report, report.load), runs, "", rebuildTables(report)].join("\n");
  console.log(body);
  if (!record) return;
  const page = path.join(REPOSITORY, PAGE);
  fs.writeFileSync(page, withMeasured(fs.readFileSync(page, "utf8"), "rebuild", body));
}
