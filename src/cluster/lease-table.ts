/**
 * Leases of the embedded directory that have not ended, each with a deadline on the monotonic
 * clock.
 */
import type { Clock, LeaseId, Timer } from "../ports/index.ts";
import type { LeaseRow } from "./directory-rows.ts";

interface Lease {
  readonly row: LeaseRow;
  deadlineMs: number;
  timer: Timer;
}

export class LeaseTable {
  readonly #clock: Clock;
  readonly #onEnded: (lease: LeaseRow) => Promise<void>;
  readonly #leases = new Map<LeaseId, Lease>();

  /** `onEnded` is called once for each lease that nobody kept alive. */
  constructor(clock: Clock, onEnded: (lease: LeaseRow) => Promise<void>) {
    this.#clock = clock;
    this.#onEnded = onEnded;
  }

  /** Counts from now on. */
  add(row: LeaseRow): void {
    const id = String(row.leaseId);
    const deadlineMs = this.#clock.nowMs() + row.ttlMs;
    const timer = this.#clock.after(row.ttlMs, () => this.#check(id));
    this.#leases.set(id, { row, deadlineMs, timer });
  }

  find(id: LeaseId): LeaseRow | undefined {
    const lease = this.#leases.get(id);
    return lease === undefined || this.#isOver(lease) ? undefined : lease.row;
  }

  /** The remaining milliseconds, or 0 if the lease has ended. */
  keepAlive(id: LeaseId): number {
    const lease = this.#leases.get(id);
    if (lease === undefined || this.#isOver(lease)) return 0;
    lease.deadlineMs = this.#clock.nowMs() + lease.row.ttlMs;
    return lease.row.ttlMs;
  }

  /** Takes the lease out; undefined if it had ended. */
  end(id: LeaseId): LeaseRow | undefined {
    const lease = this.#leases.get(id);
    lease?.timer.cancel();
    this.#leases.delete(id);
    return lease?.row;
  }

  close(): void {
    for (const id of this.#leases.keys()) this.end(id);
  }

  #isOver(lease: Lease): boolean {
    return this.#clock.nowMs() >= lease.deadlineMs;
  }

  /**
   * Keeping a lease alive moves the deadline and leaves the timer: it is set again when it fires.
   */
  #check(id: LeaseId): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    const remainingMs = lease.deadlineMs - this.#clock.nowMs();
    if (remainingMs > 0) {
      lease.timer = this.#clock.after(remainingMs, () => this.#check(id));
      return;
    }
    this.#leases.delete(id);
    // A failure to write it has stopped the directory, which tells everybody who calls.
    this.#onEnded(lease.row).catch(() => undefined);
  }
}
