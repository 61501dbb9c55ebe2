/**
 * Moments of the wall clock at which all links ping, those of other threads and hosts, too, as far
 * as clocks agree: a host wakes up once for all of them. What the clock says only decides how much
 * sooner or later that is.
 */
import { assert } from "../base/index.ts";

/** From now to the next moment of that period; to the one after that if it is very close. */
export function untilMoment(periodMs: number, wallMs: number): number {
  assert(periodMs > 0, "moments are some time apart");
  const restMs = periodMs - (wallMs % periodMs);
  return restMs < periodMs / 8 ? restMs + periodMs : restMs;
}
