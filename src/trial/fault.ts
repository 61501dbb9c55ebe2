import type { Prng } from "../base/index.ts";
import type { TrialWorld } from "./trial-world.ts";

/** One thing that goes wrong, until `end` puts it right. */
export interface Fault {
  /** For the trace: what, and to whom. */
  readonly what: string;
  readonly durationMs: number;
  readonly end: () => void;
}

export interface FaultKind {
  readonly name: string;
  /**
   * "any-host": may hit every host, also several at once. "sick-host": loses or changes what was
   * stored, so it is for the one host whose copies are not needed. "either": does harm to nobody's
   * data and may hit the sick host, too.
   */
  readonly needs: "any-host" | "sick-host" | "either";
  /** Undefined if there is nobody now that it could happen to. */
  readonly begin: (world: TrialWorld, prng: Prng) => Fault | undefined;
}
