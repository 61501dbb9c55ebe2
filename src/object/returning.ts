/** A member that has to be brought to the present, over all attempts that this takes. */
import type { ComponentRecord } from "../cluster/index.ts";
import type { OwnerWorld } from "./owner-world.ts";
import { ResyncProgress } from "./resync-progress.ts";

const RETRY_MS_MIN = 250;

export interface Returning {
  nextMs: number;
  delayMs: number;
  running: Promise<void> | undefined;
  /** Attempts that found no room. */
  fullCount: number;
  /** Attempts that have failed, and why the last one did. */
  failedCount: number;
  failure: string | undefined;
  /** Of all attempts. */
  readonly progress: ResyncProgress;
}

export function newReturning(
  { catchUp, replacing, clock }: Pick<OwnerWorld, "catchUp" | "replacing" | "clock">,
  kind: ComponentRecord["state"]["kind"],
): Returning {
  const isNew = kind === "building" || kind === "joining";
  const progress = new ResyncProgress(isNew ? (replacing?.traffic ?? catchUp) : catchUp);
  const nextMs = clock.nowMs();
  const none = { running: undefined, fullCount: 0, failedCount: 0, failure: undefined };
  return { nextMs, delayMs: RETRY_MS_MIN, ...none, progress };
}

/** Between two attempts: how many have failed, and why the last one did. */
export function failedAttemptOf(returning: Returning): string | undefined {
  const { failedCount, failure, running } = returning;
  if (failure === undefined || running !== undefined) return undefined;
  return failedCount === 1
    ? `an attempt has failed (${failure})`
    : `${failedCount} attempts have failed, the last one with: ${failure}`;
}
