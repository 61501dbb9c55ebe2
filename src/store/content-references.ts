/**
 * Changes to the content map that one metadata batch will publish (US20160350325A1: one entry per
 * stored block with fingerprint, address and reference count; one logical entry per block with
 * address and pointer). Counts move by the net difference; an entry that ends at zero is deleted
 * and its block freed.
 *
 * The content id is the first half of the SHA-256 fingerprint, the entry holds the other half. Two
 * contents with the same first half get neighbouring ids, so a collision costs a probe, never data.
 */
import { assert, CodedError, equalBytes, getU32, getU40, setU32, setU40 } from "../base/index.ts";
import type { MetadataStore } from "../ports/index.ts";
import { MetadataBatch } from "../ports/index.ts";
import {
  CONTENT_ID_BYTES,
  contentKey,
  ContentValueLayout,
  sealValue,
  valueIsIntact,
} from "../format/index.ts";
import type { SpaceMap } from "./space-map.ts";

const PROBES_MAX = 8;

export interface ContentRecord {
  readonly id: Uint8Array;
  readonly fingerprintTail: Uint8Array;
  readonly physical: number;
  /** As stored before this batch. */
  readonly references: number;
  change: number;
  /** Allocated by this batch: its data must be written before the batch is committed. */
  readonly isNew: boolean;
}

export interface StoredContent {
  readonly physical: number;
  readonly references: number;
  readonly fingerprintTail: Uint8Array;
}

export function encodeContent(key: Uint8Array, content: StoredContent): Uint8Array {
  const at = ContentValueLayout.at;
  const value = new Uint8Array(ContentValueLayout.sizeBytes);
  setU40(value, at.physical, content.physical);
  setU32(value, at.references, content.references);
  value.set(content.fingerprintTail, at.fingerprintTail);
  sealValue(key, value);
  return value;
}

/** Undefined if the value cannot be believed. */
export function decodeContent(key: Uint8Array, value: Uint8Array): StoredContent | undefined {
  const at = ContentValueLayout.at;
  if (value.length !== ContentValueLayout.sizeBytes || !valueIsIntact(key, value)) return undefined;
  return {
    physical: getU40(value, at.physical),
    references: getU32(value, at.references),
    fingerprintTail: value.slice(at.fingerprintTail, at.fingerprintTail + 16),
  };
}

/** 16 bytes as a map key. */
function idText(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(
    getU32(bytes, at) & 0xffff,
    getU32(bytes, at) >>> 16,
    getU32(bytes, at + 4) & 0xffff,
    getU32(bytes, at + 4) >>> 16,
    getU32(bytes, at + 8) & 0xffff,
    getU32(bytes, at + 8) >>> 16,
    getU32(bytes, at + 12) & 0xffff,
    getU32(bytes, at + 12) >>> 16,
  );
}

export class ContentReferences {
  readonly #metadata: MetadataStore;
  readonly #space: SpaceMap;
  readonly #onMissing: (id: Uint8Array) => void;
  readonly #records = new Map<string, ContentRecord>();
  readonly #key: Uint8Array = new Uint8Array(1 + CONTENT_ID_BYTES);

  constructor(metadata: MetadataStore, space: SpaceMap, onMissing: (id: Uint8Array) => void) {
    this.#metadata = metadata;
    this.#space = space;
    this.#onMissing = onMissing;
  }

  #find(id: Uint8Array, at: number): ContentRecord | undefined {
    const text = idText(id, at);
    const known = this.#records.get(text);
    if (known !== undefined) return known;
    const key = contentKey(id, at, this.#key);
    const value = this.#metadata.get(key);
    if (value === undefined) return undefined;
    const stored = decodeContent(key, value);
    if (stored === undefined) return undefined;
    const record: ContentRecord = {
      ...stored,
      id: id.slice(at, at + CONTENT_ID_BYTES),
      change: 0,
      isNew: false,
    };
    this.#records.set(text, record);
    return record;
  }

  /** Adds a reference to the content with this fingerprint; allocates a block if it is new. */
  acquire(fingerprints: Uint8Array, at: number): ContentRecord {
    const tail = fingerprints.subarray(at + CONTENT_ID_BYTES, at + 2 * CONTENT_ID_BYTES);
    let id = fingerprints;
    let idAt = at;
    for (let probe = 0; probe < PROBES_MAX; probe++) {
      const found = this.#find(id, idAt);
      if (found === undefined) return this.#create(id, idAt, tail);
      if (equalBytes(found.fingerprintTail, tail)) {
        found.change++;
        return found;
      }
      id = id.slice(idAt, idAt + CONTENT_ID_BYTES);
      idAt = 0;
      id[CONTENT_ID_BYTES - 1]!++;
    }
    throw new CodedError({
      code: "fingerprint-collision",
      message: `more than ${PROBES_MAX} contents share the first half of a fingerprint`,
    });
  }

  #create(id: Uint8Array, at: number, tail: Uint8Array): ContentRecord {
    const physical = this.#space.allocate();
    if (physical === undefined) {
      throw new CodedError({ code: "no-space", message: "the block store has no free block" });
    }
    const record: ContentRecord = {
      id: id.slice(at, at + CONTENT_ID_BYTES),
      fingerprintTail: tail.slice(),
      physical,
      references: 0,
      change: 1,
      isNew: true,
    };
    this.#records.set(idText(id, at), record);
    return record;
  }

  /**
   * Adds a reference to a content that a logical entry names already. False if it does not exist.
   */
  retain(ids: Uint8Array, at: number): boolean {
    const record = this.#find(ids, at);
    if (record === undefined) return false;
    record.change++;
    return true;
  }

  /** Takes one reference away. */
  drop(ids: Uint8Array, at: number): void {
    const record = this.#find(ids, at);
    if (record === undefined || record.references + record.change <= 0) {
      this.#onMissing(ids.slice(at, at + CONTENT_ID_BYTES));
      return;
    }
    record.change--;
  }

  /** Puts all changes into the batch; returns the blocks that it frees. */
  writeTo(batch: MetadataBatch): number[] {
    const freed: number[] = [];
    for (const record of this.#records.values()) {
      if (record.change === 0 && !record.isNew) continue;
      const references = record.references + record.change;
      assert(references >= 0, "reference count below zero");
      const key = contentKey(record.id, 0, this.#key);
      if (references > 0) batch.put(key, encodeContent(key, { ...record, references }));
      else if (!record.isNew) batch.delete(key);
      if (references === 0) freed.push(record.physical);
    }
    return freed;
  }

  /** Gives back what was allocated for a batch that will not be committed. */
  abandon(): void {
    for (const record of this.#records.values()) {
      if (record.isNew) this.#space.unallocate(record.physical);
    }
    this.#records.clear();
  }

  get size(): number {
    return this.#records.size;
  }
}
