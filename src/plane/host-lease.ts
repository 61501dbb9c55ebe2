/**
 * A host's lease in the directory: as long as it lives, nobody takes the host's objects over. It is
 * judged here by the local monotonic clock alone, and from the moment the renewal was sent: however
 * late an answer comes, the lease never seems to live longer than it does.
 *
 * A lease that is short finds a host that has failed sooner, and takes more of those for failed
 * that were only held up. So a short one is earned: by renewals that were all answered promptly for
 * a minute. The first that was not brings the usual one back, and several that were very late, on a
 * network that loses packets, a long one. From one to the other the key passes without a moment in
 * which it is not there. Where there may have been such a moment a new term begins: whatever the
 * host had before it others may have taken over, also if nothing tells so yet.
 */
import { CodedError, errorText } from "../base/index.ts";
import type { Clock, Directory, LeaseId, Log, Timer } from "../ports/index.ts";

/** Of a host's lease: how long others wait before they take the host for failed. */
export const LEASE_TTL_MS: number = 5000;
/** Of one that was earned. etcd counts in seconds. */
export const LEASE_TTL_SHORT_MS: number = 3000;
/** Of one over a network that has held up answers again and again. */
export const LEASE_TTL_LONG_MS: number = 10_000;
/** So many answers so late, within so long. */
const LATE_MS = 700;
const LATE_COUNT = 3;
const LATE_WITHIN_MS = 300_000;
/** For so long every renewal must have been prompt. */
const PROMPT_FOR_MS = 60_000;
/** A renewal is prompt if it is answered so soon after it was due. */
const PROMPT_MS = 250;
/**
 * Of its time, after which it is renewed. What is left of a usual one then is enough for guests to
 * shut down, which those under a short one do not do.
 */
const RENEWED_AFTER = 1 / 4;
const RENEWED_AFTER_SHORT = 1 / 3;
/** Clocks of two machines run at different speeds; this is far more than they drift apart. */
const MARGIN_MS = 500;
const RETRY_MS = 250;

export interface HostLeaseWorld {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Log;
  readonly hostId: string;
  /** Exists in the directory while the lease is alive. */
  readonly key: string;
  /** Counts the starts of the host. */
  readonly incarnation: number;
  /** Something changed that an operator should know. */
  readonly onChange: (isAlive: boolean, reason: string | undefined) => void;
}

export class HostLease {
  readonly #world: HostLeaseWorld;
  #lease: LeaseId | undefined;
  #ttlMs = LEASE_TTL_MS;
  #validUntilMs = -Infinity;
  #term = 0;
  #promptSinceMs = Infinity;
  #mayBeShort = true;
  /** When the last very late answers came, oldest first. */
  readonly #lateMs: number[] = [];
  /** What else is to pass from one lease to the next while the host is there. */
  readonly #carried = new Map<string, string>();
  #timer: Timer | undefined;
  #wasAlive = false;
  #isClosed = false;
  #reason: string | undefined;

  constructor(world: HostLeaseWorld) {
    this.#world = world;
  }

  /** Resolves when the lease is there. Fails as the directory does. */
  async start(): Promise<void> {
    await this.#grant(LEASE_TTL_MS);
    this.#schedule(this.#renewedAfterMs);
  }

  /** Whether a short one will do for what lives by it. */
  allowShort(mayBeShort: boolean): void {
    this.#mayBeShort = mayBeShort;
  }

  /** From now on the key passes from lease to lease with that value, until one has ended. */
  carry(key: string, value: string): void {
    this.#carried.set(key, value);
  }

  get ttlMs(): number {
    return this.#ttlMs;
  }

  isAlive(): boolean {
    return this.restMs > 0;
  }

  /** Greater after each moment in which the key may not have been there. */
  get term(): number {
    return this.#term;
  }

  /** For how long it surely lives on. */
  get restMs(): number {
    return this.#validUntilMs - this.#world.clock.nowMs();
  }

  /** For keys that are to end with it; undefined while there is none. */
  get id(): LeaseId | undefined {
    return this.#lease;
  }

  /** Why the last renewal failed, if it did. */
  get trouble(): string | undefined {
    return this.#reason;
  }

  /** Ends when its time is over: what lives by it may go on until then. */
  letLapse(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  async close(): Promise<void> {
    this.letLapse();
    this.#validUntilMs = -Infinity;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined) await this.#world.directory.revokeLease(lease);
  }

  get #renewedAfterMs(): number {
    const isShort = this.#ttlMs <= LEASE_TTL_SHORT_MS;
    return this.#ttlMs * (isShort ? RENEWED_AFTER_SHORT : RENEWED_AFTER);
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    const dueMs = this.#world.clock.nowMs() + delayMs;
    this.#timer = this.#world.clock.after(delayMs, () => {
      this.#renew(dueMs).then(
        () => this.#schedule(this.#reason === undefined ? this.#renewedAfterMs : RETRY_MS),
        (error: unknown) => {
          this.#world.log.write("error", `the lease is not renewed: ${errorText(error)}`);
          this.#schedule(RETRY_MS);
        },
      );
    });
  }

  async #renew(dueMs: number): Promise<void> {
    const { directory, clock } = this.#world;
    try {
      const sentMs = clock.nowMs();
      const lease = this.#lease;
      const restMs = lease === undefined ? 0 : await directory.keepAlive(lease);
      if (this.#isClosed) return;
      this.#noteAnswer(dueMs);
      if (restMs > 0) this.#extend(sentMs, restMs);
      else {
        this.#validUntilMs = -Infinity;
        this.#carried.clear();
      }
      if (restMs === 0 || this.#ttlMs !== this.#wantedTtlMs) await this.#grant(this.#wantedTtlMs);
      this.#reason = undefined;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#promptSinceMs = Infinity;
      this.#reason = error.message;
    }
    this.#tell();
  }

  #noteAnswer(dueMs: number): void {
    const nowMs = this.#world.clock.nowMs();
    if (nowMs - dueMs >= LATE_MS) this.#lateMs.push(nowMs);
    if (this.#lateMs.length > LATE_COUNT) this.#lateMs.shift();
    if (nowMs - dueMs > PROMPT_MS) this.#promptSinceMs = Infinity;
    else this.#promptSinceMs = Math.min(this.#promptSinceMs, dueMs);
  }

  get #wantedTtlMs(): number {
    const nowMs = this.#world.clock.nowMs();
    const oldest = this.#lateMs.length === LATE_COUNT ? this.#lateMs[0] : undefined;
    if (oldest !== undefined && nowMs - oldest < LATE_WITHIN_MS) return LEASE_TTL_LONG_MS;
    const isPrompt = nowMs - this.#promptSinceMs >= PROMPT_FOR_MS;
    return isPrompt && this.#mayBeShort ? LEASE_TTL_SHORT_MS : LEASE_TTL_MS;
  }

  /**
   * A lease that has ended is gone for good: whoever reads here must be asked anew. One that lives
   * is left to lapse, with what nobody has moved to the new one by then.
   */
  async #grant(ttlMs: number): Promise<void> {
    const { directory, clock, key, hostId, incarnation } = this.#world;
    const sentMs = clock.nowMs();
    const lease = await directory.grantLease(ttlMs);
    const value = JSON.stringify({ format: 1, hostId, incarnation, ttlMs });
    const heldUntilMs = this.#validUntilMs;
    // From here on the key may end with either of them, whether an answer comes or not.
    this.#validUntilMs = Math.min(this.#validUntilMs, sentMs + ttlMs - MARGIN_MS);
    this.#lease = undefined;
    const all = [[key, value] as const, ...this.#carried];
    const puts = all.map(([at, what]) => ({ kind: "put", key: at, value: what, lease }) as const);
    await directory.transact([], puts);
    if (this.#isClosed) return;
    if (clock.nowMs() > heldUntilMs) this.#term++;
    this.#lease = lease;
    this.#ttlMs = ttlMs;
    this.#extend(sentMs, ttlMs);
    this.#tell();
  }

  #extend(sentMs: number, restMs: number): void {
    this.#validUntilMs = sentMs + Math.min(restMs, this.#ttlMs) - MARGIN_MS;
  }

  #tell(): void {
    const isAlive = this.isAlive();
    if (isAlive === this.#wasAlive) return;
    this.#wasAlive = isAlive;
    this.#world.onChange(isAlive, this.#reason);
  }
}

/** How long the lease lasts at most under which that was written, as others read it. */
export function leaseTtlOf(value: string | undefined): number {
  const said = value === undefined ? undefined : (JSON.parse(value) as unknown);
  if (typeof said !== "object" || said === null || !("ttlMs" in said)) return LEASE_TTL_MS;
  return typeof said.ttlMs === "number" ? said.ttlMs : LEASE_TTL_MS;
}
