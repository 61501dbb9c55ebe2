/**
 * The cache simulator: how often each replacement policy misses on given traces.
 *
 *   npm run bench -- cache [--trace FILE[,FILE...]] [--sizes 0.01,0.1] [--policies lru,best]
 *       [--json] [--csv FILE] [--svg FILE]
 *
 * A trace is a file of 64-bit little-endian identifiers (gzipped or not), or `synthetic:NAME`;
 * without
 * --trace all generated ones are run. A size is a share of the trace's distinct keys. The policies
 * `clock2q`, `clock2q-plus` and `best` are the product's own cache; `belady` knows the future.
 */
import * as fs from "node:fs";
import { programOptions } from "../scripts/program-options.ts";
import { POLICIES } from "./cache/policies.ts";
import type { PolicyFactory } from "./cache/policy.ts";
import { toCsv, toJson, toSvg, toTable } from "./cache/report.ts";
import type { ResultRow } from "./cache/report.ts";
import { openTrace, syntheticNames } from "./cache/trace.ts";
import type { Trace } from "./cache/trace.ts";

const SIZES_DEFAULT = "0.01,0.03,0.1,0.2,0.4";

export async function run(args: readonly string[]): Promise<void> {
  const { values } = programOptions("bench", import.meta.url, {
    args: [...args],
    options: {
      trace: { type: "string", multiple: true, default: [] },
      sizes: { type: "string", default: SIZES_DEFAULT },
      policies: { type: "string", default: [...POLICIES.keys()].join(",") },
      json: { type: "boolean", default: false },
      csv: { type: "string" },
      svg: { type: "string" },
    },
  });
  const names = values.trace.flatMap(parts);
  const sizes = parts(values.sizes).map(parseShare);
  const policies = parts(values.policies).map(policyNamed);
  const rows: ResultRow[] = [];
  for (const name of names.length === 0 ? syntheticNames() : names) {
    const trace = openTrace(name);
    for (const size of sizes) {
      for (const [policy, factory] of policies) rows.push(simulate(trace, size, policy, factory));
      process.stderr.write(`${trace.name} ${size}: ${policies.length} policies\n`);
    }
  }
  if (values.csv !== undefined) fs.writeFileSync(values.csv, toCsv(rows));
  if (values.svg !== undefined) fs.writeFileSync(values.svg, toSvg(rows));
  console.log(values.json ? toJson(rows) : toTable(rows));
}

function parts(list: string): string[] {
  return list.split(",").filter((part) => part !== "");
}

function parseShare(text: string): number {
  const size = Number(text);
  if (size > 0 && size <= 1) return size;
  throw new Error(`size ${text}: expected a share of the trace's keys, above 0 and up to 1`);
}

function policyNamed(name: string): [string, PolicyFactory] {
  const factory = POLICIES.get(name);
  if (factory !== undefined) return [name, factory];
  throw new Error(`no policy ${name}; there are ${[...POLICIES.keys()].join(", ")}`);
}

function simulate(trace: Trace, size: number, name: string, factory: PolicyFactory): ResultRow {
  const { keys, uniqueCount } = trace;
  const capacity = Math.max(1, Math.round(uniqueCount * size));
  const policy = factory({ capacity, uniqueCount, trace: keys });
  let misses = 0;
  for (let i = 0; i < keys.length; i++) if (!policy.access(keys[i]!)) misses++;
  return {
    trace: trace.name,
    size,
    entries: capacity,
    policy: name,
    missRatio: misses / keys.length,
  };
}
