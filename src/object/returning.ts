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
  return { nextMs, delayMs: RETRY_MS_MIN, running: undefined, fullCount: 0, progress };
}
