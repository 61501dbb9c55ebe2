/**
 * Time, as the only way to learn of it. Real hosts use the machine's clocks, trials a virtual one.
 */
export interface Clock {
  /**
   * Monotonic milliseconds, fractions included. Leases and time-outs are measured on this one, and
   * it goes on while the machine is suspended.
   */
  nowMs(): number;
  /** Milliseconds since 1970. For people and logs only: it may jump. */
  wallMs(): number;
  /**
   * Runs `callback` once, no earlier than `delayMs` from now. A timer never keeps a process alive.
   */
  after(delayMs: number, callback: () => void): Timer;
}

export interface Timer {
  /** The callback will not run any more. Cancelling twice, or after it ran, does nothing. */
  cancel(): void;
}
