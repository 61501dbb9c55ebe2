/**
 * Reads what is under one prefix of the directory, and again whenever it changes, for as long as it
 * is open: the reader always sees the newest state at last, also past failures and gaps.
 *
 * The watch begins before the reading, so that no change falls between the two. Readings go one
 * after the other; changes that come during one are read together in the next.
 */
import { CodedError } from "../base/index.ts";
import type { Clock, Directory, DirectoryWatch, Timer } from "../ports/index.ts";

export interface DirectoryFollowerWorld {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly prefix: string;
  readonly retryMs: number;
  /** A CodedError that it fails with is told and tried again; another one is a mistake in here. */
  readonly read: () => Promise<void>;
  /** It is tried again after `retryMs`. */
  readonly failed: (error: CodedError) => void;
}

export class DirectoryFollower {
  readonly #world: DirectoryFollowerWorld;
  #watch: DirectoryWatch | undefined;
  #timer: Timer | undefined;
  #reading: Promise<void> | undefined;
  #isBehind = false;
  #isClosed = false;

  constructor(world: DirectoryFollowerWorld) {
    this.#world = world;
  }

  /** Resolves when it was read once. Fails as the directory or `read` does, and follows nothing. */
  async open(): Promise<void> {
    const { directory, prefix } = this.#world;
    const { revision } = await directory.list(prefix);
    if (this.#isClosed) return;
    const changed = (): void => void this.readAgain();
    const lost = (): void => this.start();
    this.#unwatch();
    this.#watch = directory.watch(prefix, revision + 1, changed, lost);
    try {
      await this.#read();
    } catch (error) {
      this.#unwatch();
      throw error;
    }
  }

  /** Opens, and tries until it has succeeded. */
  start(): void {
    if (this.#isClosed) return;
    this.open().catch((error: unknown) => this.#startLater(error));
  }

  /** Resolves when it was read once more, or has failed, which is told and tried again. */
  async readAgain(): Promise<void> {
    const isFirst = this.#reading === undefined;
    try {
      await this.#read();
    } catch (error) {
      // Whoever has begun the reading deals with its failure.
      if (isFirst) this.#startLater(error);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#unwatch();
    this.#timer?.cancel();
  }

  #unwatch(): void {
    this.#watch?.cancel();
    this.#watch = undefined;
  }

  #startLater(error: unknown): void {
    this.#unwatch();
    if (!(error instanceof CodedError)) throw error;
    if (this.#isClosed) return;
    const { clock, retryMs, failed } = this.#world;
    failed(error);
    this.#timer?.cancel();
    this.#timer = clock.after(retryMs, () => this.start());
  }

  #read(): Promise<void> {
    this.#isBehind = true;
    this.#reading ??= this.#readings();
    return this.#reading;
  }

  async #readings(): Promise<void> {
    try {
      while (this.#isBehind && !this.#isClosed) {
        this.#isBehind = false;
        await this.#world.read();
      }
    } finally {
      // In the turn in which nothing was left to read: a change may come in the next one.
      this.#reading = undefined;
    }
  }
}
