/** What a soak has found: for people as text, for programs as JSON. */
import { loadavg } from "node:os";
import { LATENCY_KINDS } from "./latencies.ts";
import type { Drift, Latencies } from "./latencies.ts";
import type { PlannedMemory } from "./planned-memory.ts";
import type { Sample } from "./slopes.ts";
import type { Fault, Step } from "./soak-plan.ts";
import type { Slope } from "./soak-samples.ts";

/** Latencies of the last quarter, over those of the first, as far as the machine is as fast. */
const DRIFT_MAX = { p50: 2, p99: 4 } as const;
/** Fewer latencies of a quarter tell nothing. */
const DRIFT_COUNT_MIN = 2000;

export interface StepReport extends Step {
  readonly host: string;
  readonly atSeconds: number;
  /** From its begin: until it had happened, was mended, every copy took part, all was done. */
  readonly hurtSeconds: number;
  readonly mendedSeconds: number;
  readonly wholeSeconds: number;
  readonly seconds: number;
  readonly stallMs: number;
}

export interface SoakFacts {
  readonly options: { readonly seed: number; readonly hosts: number; readonly directory: string };
  readonly seconds: number;
  readonly errors: readonly string[];
  readonly steps: readonly StepReport[];
  readonly powerCuts: number;
  readonly damageSeen: number;
  readonly load: {
    readonly writes: number;
    readonly reads: number;
    readonly writtenBytes: number;
    readonly readBytes: number;
  };
  readonly refusals: Readonly<Record<string, number>>;
  readonly slopes: readonly Slope[];
  readonly memory: Pick<PlannedMemory, "beyond" | "told">;
  readonly series: Readonly<Record<string, readonly Sample[]>>;
  readonly latencies: Pick<Latencies, "drift">;
  /** How often each warning or error was written to logs. */
  readonly said: Readonly<Record<string, number>>;
}

export interface SoakReport {
  readonly isGood: boolean;
  readonly seed: number;
  readonly hosts: number;
  readonly directory: string;
  readonly seconds: number;
  readonly loadAverage: number;
  readonly errors: readonly string[];
  readonly leaks: readonly string[];
  readonly drifts: readonly string[];
  readonly load: SoakFacts["load"];
  readonly powerCuts: number;
  readonly damageSeen: number;
  readonly refusals: Readonly<Record<string, number>>;
  readonly said: Readonly<Record<string, number>>;
  readonly steps: readonly StepReport[];
  readonly slopes: readonly Slope[];
  /** The most memory that each process had, and what it planned. */
  readonly memory: readonly string[];
  readonly latencies: readonly Drift[];
  readonly series: Readonly<Record<string, readonly Sample[]>>;
}

export function reportOf(facts: SoakFacts): SoakReport {
  const { options, load } = facts;
  const latencies = LATENCY_KINDS.flatMap((kind) => facts.latencies.drift(kind) ?? []);
  const grown = facts.slopes.filter(({ isLeak }) => isLeak).map(slopeLine);
  const leaks = [...grown, ...facts.memory.beyond];
  const drifts = driftsOf(latencies);
  return {
    isGood: facts.errors.length === 0 && leaks.length === 0 && drifts.length === 0,
    ...{ seed: options.seed, hosts: options.hosts, directory: options.directory },
    ...{ seconds: facts.seconds, loadAverage: loadavg()[0] ?? 0 },
    ...{ errors: facts.errors, leaks, drifts },
    load: {
      ...{ writes: load.writes, reads: load.reads },
      ...{ writtenBytes: load.writtenBytes, readBytes: load.readBytes },
    },
    ...{
      powerCuts: facts.powerCuts,
      damageSeen: facts.damageSeen,
      refusals: facts.refusals,
      said: facts.said,
      steps: facts.steps,
    },
    ...{ slopes: facts.slopes, latencies, series: facts.series, memory: facts.memory.told },
  };
}

/** Where the last quarter is slower than the first by more than what the machine is. */
export function driftsOf(latencies: readonly Drift[]): readonly string[] {
  const yardstick = latencies.find(({ kind }) => kind === "yardstick");
  const machine = (key: "p50Ms" | "p99Ms"): number =>
    yardstick === undefined ? 1 : Math.max(1, yardstick.last[key] / yardstick.first[key]);
  return latencies.flatMap(({ kind, first, last }) => {
    const isEnough = Math.min(first.count, last.count) >= DRIFT_COUNT_MIN;
    if (kind === "yardstick" || !isEnough) return [];
    const bad = (["p50", "p99"] as const).filter(
      (one) => last[`${one}Ms`] / first[`${one}Ms`] > DRIFT_MAX[one] * machine(`${one}Ms`),
    );
    return bad.map(
      (one) => `${one} of ${kind}s: ${ms(first[`${one}Ms`])}, then ${ms(last[`${one}Ms`])}`,
    );
  });
}

export function textOf(report: SoakReport): readonly string[] {
  const { load, steps, errors, leaks, drifts } = report;
  const lines = [
    `${(report.seconds / 60).toFixed(1)} minutes, seed ${report.seed}, ${report.hosts} hosts, ` +
      `directory ${report.directory}, load average ${report.loadAverage.toFixed(1)}`,
    `${load.writes} writes of ${mib(load.writtenBytes)}, ${load.reads} reads of ` +
      `${mib(load.readBytes)}, each answer checked`,
    `${steps.length} steps, ${report.powerCuts} power cuts of all, ` +
      `${report.damageSeen} damaged blocks met; longest wait for an answer:`,
    ...stallLines(steps),
    "slopes per hour, of what ran long enough:",
    ...report.slopes.map((slope) => `  ${slopeLine(slope)}`),
    "the most memory of each process:",
    ...report.memory.map((line) => `  ${line}`),
    "latencies while nothing was broken, first and last quarter (p50, p99):",
    ...report.latencies.map(
      ({ kind, first, last }) =>
        `  ${kind}: ${ms(first.p50Ms)}, ${ms(first.p99Ms)} of ${first.count}; ` +
        `${ms(last.p50Ms)}, ${ms(last.p99Ms)} of ${last.count}`,
    ),
    ...Object.entries(report.refusals).map(
      ([code, count]) => `refused and tried again: ${count} ${code}`,
    ),
    "written to logs, numbers and ids left out:",
    ...Object.entries(report.said).map(([what, count]) => `  ${count} times ${what}`),
    ...errors.map((error) => `ERROR ${error}`),
    ...leaks.map((leak) => `LEAK ${leak}`),
    ...drifts.map((drift) => `DRIFT ${drift}`),
  ];
  const verdict = `${errors.length} errors, ${leaks.length} leaks, ${drifts.length} drifts`;
  return [...lines, report.isGood ? `good: ${verdict}` : `NOT good: ${verdict}`];
}

function stallLines(steps: readonly StepReport[]): readonly string[] {
  const byFault = new Map<Fault, number[]>();
  for (const { fault, stallMs } of steps)
    byFault.set(fault, [...(byFault.get(fault) ?? []), stallMs]);
  return [...byFault].map(([fault, stalls]) => {
    const sorted = stalls.toSorted((a, b) => a - b);
    const middle = sorted[Math.floor(sorted.length / 2)] ?? 0;
    return `  ${fault}: ${stalls.length} times, middle ${ms(middle)}, longest ${ms(sorted.at(-1) ?? 0)}`;
  });
}

function slopeLine(slope: Slope): string {
  const { of, metric, first, last, minutes, perHour, errorPerHour, latePerHour } = slope;
  const limit = slope.limitPerHour === undefined ? "" : `, limit ${slope.limitPerHour}`;
  const grown = slope.grown === undefined ? "" : `: ${slope.grown} more`;
  return (
    `${of} ${metric}: ${first.toFixed(1)} to ${last.toFixed(1)} in ${minutes.toFixed(0)} min, ` +
    `${perHour.toFixed(1)} (error ${errorPerHour.toFixed(1)}${limit}), ` +
    `${latePerHour.toFixed(1)} in the later half${grown}`
  );
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
