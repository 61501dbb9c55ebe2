/**
 * Whether the directory answers, asked once a second at most for all who keep something up by
 * watches: those are silent while the directory is away.
 */
import type { Clock, Directory } from "../ports/index.ts";

/** A directory that is away is noticed after this: what was heard last would grow old unseen. */
const CONFIRM_MS = 1000;

export class DirectoryPulse {
  readonly #directory: Directory;
  readonly #clock: Clock;
  readonly #key: string;
  #heardMs = -Infinity;
  #asking: Promise<void> | undefined;

  /** `key`: any one, which need not be there. */
  constructor(directory: Directory, clock: Clock, key: string) {
    this.#directory = directory;
    this.#clock = clock;
    this.#key = key;
  }

  /** It has just answered something. */
  heard(): void {
    this.#heardMs = this.#clock.nowMs();
  }

  /** Resolves if it has answered a moment ago, or does now. Fails as it does. */
  confirm(): Promise<void> {
    if (this.#clock.nowMs() - this.#heardMs < CONFIRM_MS) return Promise.resolve();
    this.#asking ??= this.#directory
      .get(this.#key)
      .then(() => this.heard())
      .finally(() => (this.#asking = undefined));
    return this.#asking;
  }
}
