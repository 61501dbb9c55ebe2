/**
 * An ordered map from short binary keys to binary values, on one device. Reads are synchronous and
 * see every batch that `commit` was called with, durable or not. A batch is atomic: after a crash
 * it is there whole or not at all, and never without all batches before it.
 */
export interface MetadataStore {
  /** The value, valid until the next call on this store; undefined if the key is absent. */
  get(key: Uint8Array): Uint8Array | undefined;
  /**
   * Visits entries with `from <= key < to` in key order (bytewise) until the visitor returns false.
   * Key and value are valid during the visit only. The visitor must not write to the store.
   */
  scan(
    from: Uint8Array,
    to: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): void;
  /**
   * Applies the batch at once and resolves when it is durable. The batch may be reused afterwards.
   */
  commit(batch: MetadataBatch): Promise<void>;
  /** Bytes in use by entries, as far as the store can tell. */
  usedBytes(): number;
  close(): Promise<void>;
}

/** Longest key, in bytes. */
export const METADATA_KEY_BYTES_MAX = 64;
/** Longest value, in bytes. */
export const METADATA_VALUE_BYTES_MAX = 65_536;

/** Puts and deletes in order; a later one on the same key wins. Keys and values are copied in. */
export class MetadataBatch {
  /** Operations as pairs; an undefined value deletes. */
  readonly operations: { readonly key: Uint8Array; readonly value: Uint8Array | undefined }[] = [];

  put(key: Uint8Array, value: Uint8Array): void {
    this.operations.push({ key: key.slice(), value: value.slice() });
  }

  delete(key: Uint8Array): void {
    this.operations.push({ key: key.slice(), value: undefined });
  }

  get size(): number {
    return this.operations.length;
  }
}
