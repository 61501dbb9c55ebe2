import { SlabPool } from "../base/index.ts";

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
   * Applies the batch at once and resolves when it is durable. Until then its keys and values are
   * the store's; afterwards it holds on to none of them, whether it failed or not.
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

const SLAB_BYTES_FIRST = 4096;
const SLAB_BYTES = 262_144;
/** 8 MiB: of large batches, which come one after the other. */
const slabs = new SlabPool(SLAB_BYTES, 32);

/** Puts and deletes in order; a later one on the same key wins. Keys and values are copied in. */
export class MetadataBatch {
  /** Operations as pairs; an undefined value deletes. */
  readonly operations: { readonly key: Uint8Array; readonly value: Uint8Array | undefined }[] = [];

  #slab: Uint8Array = new Uint8Array(0);
  #slabUsed = 0;
  readonly #large: Uint8Array[] = [];

  put(key: Uint8Array, value: Uint8Array): void {
    this.operations.push({ key: this.#copy(key), value: this.#copy(value) });
  }

  delete(key: Uint8Array): void {
    this.operations.push({ key: this.#copy(key), value: undefined });
  }

  /**
   * Slabs: an array buffer per key and value would cost more than all else. Each is four times as
   * large as the one before, so that a small batch does not pay for zeroing a large one.
   */
  #copy(bytes: Uint8Array): Uint8Array {
    if (this.#slabUsed + bytes.length > this.#slab.length) {
      const wanted = Math.min(Math.max(SLAB_BYTES_FIRST, 4 * this.#slab.length), SLAB_BYTES);
      this.#slab = wanted === SLAB_BYTES ? this.#takeLarge() : new Uint8Array(wanted);
      this.#slabUsed = 0;
      if (bytes.length > this.#slab.length) return bytes.slice();
    }
    const start = this.#slabUsed;
    this.#slab.set(bytes, start);
    this.#slabUsed = start + bytes.length;
    return this.#slab.subarray(start, this.#slabUsed);
  }

  #takeLarge(): Uint8Array {
    const slab = slabs.take();
    this.#large.push(slab);
    return slab;
  }

  get size(): number {
    return this.operations.length;
  }

  /** Empties it. Its memory will be that of other batches: nobody has its keys and values. */
  release(): void {
    this.operations.length = 0;
    this.#slab = new Uint8Array(0);
    this.#slabUsed = 0;
    slabs.giveAll(this.#large);
  }
}
