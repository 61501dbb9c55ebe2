/**
 * The metadata of a device, until they cannot be written. What a failed commit has left behind
 * nobody knows: it may be there after the next start, and may not. So nothing is committed after
 * it. Want of space is no such failure: nothing of the batch was written.
 */
import type { MetadataBatch, MetadataStore } from "../ports/index.ts";
import { CodedError } from "../base/index.ts";

export class GuardedMetadata implements MetadataStore {
  readonly #store: MetadataStore;
  #failure: CodedError | undefined;
  #onFailure: (error: CodedError) => void = () => {};

  constructor(store: MetadataStore) {
    this.#store = store;
  }

  /** Calls back once. */
  listen(onFailure: (error: CodedError) => void): void {
    this.#onFailure = onFailure;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#store.get(key);
  }

  scan(...range: Parameters<MetadataStore["scan"]>): void {
    this.#store.scan(...range);
  }

  async commit(batch: MetadataBatch): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#store.commit(batch);
    } catch (error) {
      if (error instanceof CodedError && error.code !== "no-space") this.#fail(error);
      throw error;
    }
  }

  #fail(error: CodedError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#onFailure(error);
  }

  usedBytes(): number {
    return this.#store.usedBytes();
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
