/**
 * The status bits of a slot: which queue it is in and how it was used there. A hot slot goes from
 * used to armed as the hand meets it, and from armed to free if the hand meets it so again.
 */
import type { QueueBalance } from "./queue-balance.ts";

export const FREE: number = 0;
export const COLD: number = 4;
export const HOT: number = 8;
/** Removed while held: has no key any more, and becomes free when nothing holds it any more. */
export const LIMBO: number = 12;
export const QUEUE_MASK: number = 12;
/** Of a hot slot: rounds of the hand in which it was hit. */
export const COUNT_MASK: number = 3;
/** Cold: hit after the window. Hot: hit since the hand came by. */
export const USED: number = 16;
/** The hand has given it a round although it was not hit. */
export const GRACED: number = 32;
/** The hand has not come by yet. */
export const NEWCOMER: number = 64;
/** Rounds with hits after which a hot slot may be given grace. */
export const GRACE_ROUNDS_MIN: number = 2;

/** The hand meets a hot slot: its new status, or FREE if it was armed and is free to take. */
export function statusAfterHand(status: number, balance: QueueBalance): number {
  const wasHit = (status & USED) !== 0;
  if ((status & GRACED) !== 0) balance.noteGraced(wasHit);
  if ((status & NEWCOMER) !== 0) balance.noteNewcomer(wasHit);
  const rounds = status & COUNT_MASK;
  if (wasHit) return HOT | (balance.countsRounds ? Math.min(COUNT_MASK, rounds + 1) : rounds);
  if (rounds < GRACE_ROUNDS_MIN || !balance.givesGrace()) return FREE;
  return HOT | GRACED | (rounds - 1);
}
