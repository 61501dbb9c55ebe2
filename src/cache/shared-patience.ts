/**
 * How a worker of a shared cache waits for another one that is in the middle of a change: that
 * lasts some dozen instructions, unless the system suspends or ends the other there. So it spins at
 * first, and then sleeps a moment at a time, so that the other gets the processor it may be waiting
 * for.
 */
const SPINS_MAX = 256;
const SLEEP_MS = 1;
/** At least three seconds: a busy system suspends for less, and the dead are reaped meanwhile. */
const SLEEPS_MAX = 3000;
/** Where nobody can sleep: about half a second. */
const SPINS_WITHOUT_SLEEP_MAX = 2 ** 25;

/**
 * Waits for a moment, or until a word is no longer what it was seen to be, after so many rounds
 * that did not help. False if it has been waited for long enough.
 */
export function waitAMoment(words: Int32Array, at: number, seen: number, rounds: number): boolean {
  if (rounds < SPINS_MAX) return true;
  if (!(words.buffer instanceof SharedArrayBuffer)) return rounds < SPINS_WITHOUT_SLEEP_MAX;
  Atomics.wait(words, at, seen, SLEEP_MS);
  return rounds < SPINS_MAX + SLEEPS_MAX;
}
