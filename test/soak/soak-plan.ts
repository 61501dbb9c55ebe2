/** What is done to the cluster, step by step, from a seed: the same seed gives the same plan. */
import { Prng } from "../../src/base/index.ts";

export const FAULTS = [
  "none",
  "kill",
  "stop",
  "freeze",
  "cut-storage",
  "cut-management",
  "cut-both",
  "directory-kill",
  "directory-freeze",
  "away",
  "wipe",
  "evacuate",
  "damage",
] as const;
export type Fault = (typeof FAULTS)[number];

export const JOBS = ["none", "snapshot", "clone", "export", "policy", "scrub"] as const;
export type Job = (typeof JOBS)[number];

/** Whom it happens to: the host that serves the volume, the other copy, or any by its number. */
export type Target = "server" | "other copy" | number;

export interface Step {
  readonly fault: Fault;
  readonly target: Target;
  /** How long it lasts before it is mended, at least. */
  readonly holdSeconds: number;
  readonly job: Job;
}

/** Faults that end a process of a host, and with it what is known of its memory. */
const ENDING: ReadonlySet<Fault> = new Set(["kill", "stop", "away", "wipe", "damage"]);

export function endsProcess(fault: Fault): boolean {
  return ENDING.has(fault);
}

const LEAVES_NO_HOST: ReadonlySet<Fault> = new Set(["away", "wipe", "evacuate", "damage"]);

/** Of a hundred steps. */
const WEIGHTS: Readonly<Record<Fault, number>> = {
  none: 4,
  kill: 24,
  stop: 8,
  freeze: 12,
  "cut-storage": 10,
  "cut-management": 8,
  "cut-both": 8,
  "directory-kill": 6,
  "directory-freeze": 4,
  away: 4,
  wipe: 4,
  evacuate: 4,
  damage: 4,
};

/** Without end. `faults` are those that the cluster at hand can be dealt. */
export function* soakPlan(
  seed: number,
  hosts: number,
  faults: readonly Fault[] = FAULTS,
): Generator<Step, never> {
  const prng = new Prng(seed);
  const lots = faults.flatMap((fault) => Array.from({ length: WEIGHTS[fault] }, () => fault));
  for (;;) {
    const fault = prng.pick(lots);
    const host = prng.between(1, hosts);
    const job = prng.pick<Job>([...JOBS, "snapshot"]);
    yield {
      fault,
      target: prng.pick<Target>(["server", "server", "other copy", host]),
      holdSeconds: prng.pick([0, 0.5, 1, 2, 3, 5, 8, 12]),
      // With two stripes each of four hosts has a part: there is nowhere else to go.
      job: job === "policy" && LEAVES_NO_HOST.has(fault) ? "none" : job,
    };
  }
}
