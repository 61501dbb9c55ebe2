/**
 * Where the time went between the power of a host cut and a machine's QEMU process started on
 * another one: by the decisions in the machine's record, and what the new host's log says of its
 * volume. All clocks are this machine's.
 */
import * as fs from "node:fs";
import type { VmDecisionView, VmView } from "../src/host/api/views.ts";
import { figure } from "./benchmark.ts";
import type { Figure } from "./benchmark.ts";

/** One after the other, in milliseconds; the first four add up to the start of the process. */
export interface Phases {
  /** Until the lease had ended and the first machine of them was placed. */
  readonly noticed: number;
  /** Until it was placed itself: behind those of higher priorities. */
  readonly turn: number;
  /** Until its new host owned its volume. */
  readonly owned: number;
  readonly spawned: number;
  /** Until QEMU had answered and the record said so, which those of lower priorities wait for. */
  readonly told: number;
}

const NAMES: Readonly<Record<keyof Phases, string>> = {
  noticed: "1 cut to first placement",
  turn: "2 to its own placement",
  owned: "3 to its volume owned",
  spawned: "4 to QEMU process",
  told: "5 to record says started",
};

export interface Failed {
  readonly view: VmView;
  readonly objectId: string;
  readonly hostLog: string;
  readonly startedWallMs: number;
}

/** Of all machines of one power cut. */
export function phasesOf(cutWallMs: number, machines: readonly Failed[]): readonly Phases[] {
  const placed = machines.map(({ view }) => lastOf(view, (what) => what.startsWith("placed on")));
  const first = Math.min(...placed);
  return machines.map(({ view, objectId, hostLog, startedWallMs }, i) => {
    const ownedMs = lastOwned(hostLog, objectId);
    return {
      noticed: first - cutWallMs,
      turn: placed[i]! - first,
      owned: ownedMs - placed[i]!,
      spawned: startedWallMs - ownedMs,
      told: lastOf(view, (what) => what === "started") - startedWallMs,
    };
  });
}

export function phaseFigures(workload: string, all: readonly Phases[]): readonly Figure[] {
  return (Object.keys(NAMES) as (keyof Phases)[]).flatMap((phase) => {
    const sorted = all.map((one) => one[phase]).toSorted((a, b) => a - b);
    const name = (metric: string) => ({ workload, target: NAMES[phase], metric });
    return [figure(name("ms"), sorted), figure(name("p99 ms"), [percentile99(sorted)])];
  });
}

/** Of values in ascending order. */
export function percentile99(sorted: readonly number[]): number {
  return sorted[Math.ceil(0.99 * sorted.length) - 1]!;
}

function lastOf({ name, history }: VmView, isIt: (what: string) => boolean): number {
  const found = history.findLast(({ what }: VmDecisionView) => isIt(what));
  if (found === undefined) throw new Error(`the record of ${name} does not say it`);
  return found.timeMs;
}

function lastOwned(hostLog: string, objectId: string): number {
  const line = fs
    .readFileSync(hostLog, "utf8")
    .split("\n")
    .findLast((one) => one.includes(objectId) && one.includes('"ownership taken"'));
  if (line === undefined) throw new Error(`${hostLog} does not say that ${objectId} was taken`);
  return Date.parse((JSON.parse(line) as { readonly time: string }).time);
}
