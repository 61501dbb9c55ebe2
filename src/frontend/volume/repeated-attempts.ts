/**
 * Something that is tried until it succeeds, later and later, from one success to the next need.
 */
import type { Clock, Timer } from "../../ports/index.ts";

const BACK_OFF_MS_MIN = 50;
const BACK_OFF_MS_MAX = 2000;
/** What succeeds and is wanted again at once must not spin. */
const INTERVAL_MS = 50;

export interface AttemptOwner<T> {
  attempt(): Promise<T>;
  attemptSucceeded(result: T): void;
  attemptFailed(error: unknown, failureCount: number): void;
}

export class RepeatedAttempts<T> {
  readonly #clock: Clock;
  readonly #owner: AttemptOwner<T>;
  #isRunning = false;
  #isCancelled = false;
  #timer: Timer | undefined;
  /** Attempts since the last success that was of use. */
  #attemptCount = 0;
  #succeededMs = -Infinity;

  constructor(clock: Clock, owner: AttemptOwner<T>) {
    this.#clock = clock;
    this.#owner = owner;
  }

  /** Begins to try, unless it is trying already. Nothing is called from inside this call. */
  start(): void {
    if (this.#isRunning || this.#isCancelled) return;
    this.#isRunning = true;
    this.#schedule();
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#timer?.cancel();
  }

  /** The success was of use: the next need is a new one, without the delays of this one. */
  forgetFailures(): void {
    this.#attemptCount = 0;
  }

  #schedule(): void {
    const sinceSuccessMs = this.#clock.nowMs() - this.#succeededMs;
    const delayMs = Math.max(this.#backOffMs(), INTERVAL_MS - sinceSuccessMs);
    if (delayMs <= 0) void Promise.resolve().then(this.#run);
    else this.#timer = this.#clock.after(delayMs, () => void this.#run());
  }

  #backOffMs(): number {
    if (this.#attemptCount === 0) return 0;
    return Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN * 2 ** Math.min(16, this.#attemptCount - 1));
  }

  readonly #run = async (): Promise<void> => {
    if (this.#isCancelled) return;
    this.#attemptCount++;
    let result: T;
    try {
      result = await this.#owner.attempt();
    } catch (error) {
      this.#owner.attemptFailed(error, this.#attemptCount);
      if (!this.#isCancelled) this.#schedule();
      return;
    }
    this.#isRunning = false;
    this.#succeededMs = this.#clock.nowMs();
    this.#owner.attemptSucceeded(result);
  };
}
