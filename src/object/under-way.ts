/** Work that goes on at the same time, a bounded part of it; the first failure is the failure. */
export class UnderWay {
  readonly #max: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  /** Begins it, and resolves when there is room for more. Fails if anything has failed. */
  async begin(work: () => Promise<void>): Promise<void> {
    const one = work()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(one));
    this.#running.add(one);
    if (this.#running.size >= this.#max) await Promise.race(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Resolves when nothing is under way any more. Fails if anything has failed. */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
