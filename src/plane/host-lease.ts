/**
 * A host's lease in the directory: as long as it lives, nobody takes the host's objects over. It is
 * judged here by the local monotonic clock alone, and from the moment the renewal was sent: however
 * late an answer comes, the lease never seems to live longer than it does.
 */
import { CodedError, errorText } from "../base/index.ts";
import type { Clock, Directory, LeaseId, Log, Timer } from "../ports/index.ts";

/** Of a host's lease: what it goes by, and how long others wait before they take it for failed. */
export const LEASE_TTL_MS: number = 5000;
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
  #validUntilMs = -Infinity;
  #timer: Timer | undefined;
  #wasAlive = false;
  #isClosed = false;
  #reason: string | undefined;

  constructor(world: HostLeaseWorld) {
    this.#world = world;
  }

  /** Resolves when the lease is there. Fails as the directory does. */
  async start(): Promise<void> {
    await this.#grant();
    this.#schedule(LEASE_TTL_MS / 4);
  }

  isAlive(): boolean {
    return this.restMs > 0;
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

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#world.clock.after(delayMs, () => {
      this.#renew().then(
        () => this.#schedule(this.#reason === undefined ? LEASE_TTL_MS / 4 : RETRY_MS),
        (error: unknown) => {
          this.#world.log.write("error", `the lease is not renewed: ${errorText(error)}`);
          this.#schedule(RETRY_MS);
        },
      );
    });
  }

  async #renew(): Promise<void> {
    const { directory, clock } = this.#world;
    try {
      const sentMs = clock.nowMs();
      const lease = this.#lease;
      const restMs = lease === undefined ? 0 : await directory.keepAlive(lease);
      if (this.#isClosed) return;
      if (restMs > 0) this.#extend(sentMs, restMs);
      else await this.#grant();
      this.#reason = undefined;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      this.#reason = error.message;
    }
    this.#tell();
  }

  /** A lease that has ended is gone for good: whoever reads here must be asked anew. */
  async #grant(): Promise<void> {
    const { directory, clock, key, hostId, incarnation } = this.#world;
    const sentMs = clock.nowMs();
    const lease = await directory.grantLease(LEASE_TTL_MS);
    const value = JSON.stringify({ format: 1, hostId, incarnation });
    await directory.transact([], [{ kind: "put", key, value, lease }]);
    if (this.#isClosed) return;
    this.#lease = lease;
    this.#extend(sentMs, LEASE_TTL_MS);
    this.#tell();
  }

  #extend(sentMs: number, restMs: number): void {
    this.#validUntilMs = sentMs + Math.min(restMs, LEASE_TTL_MS) - MARGIN_MS;
  }

  #tell(): void {
    const isAlive = this.isAlive();
    if (isAlive === this.#wasAlive) return;
    this.#wasAlive = isAlive;
    this.#world.onChange(isAlive, this.#reason);
  }
}
