/**
 * Changes to the content map that one metadata batch will publish (US20160350325A1: one entry per
 * stored block with fingerprint, address and reference count; one logical entry per block with
 * address and pointer). Counts move by the net difference; an entry that ends at zero is deleted
 * and its block freed.
 *
 * The content id is the first half of the SHA-256 fingerprint, the entry holds the other half. Two
 * contents with the same first half get neighbouring ids, so a collision costs a probe, never data.
 *
 * A table in typed arrays, used again for every batch: nothing is allocated per block.
 */
import { assert, CodedError, getU32, getU40, grown, setU32, setU40 } from "../base/index.ts";
import type { MetadataBatch, MetadataStore } from "../ports/index.ts";
import {
  CONTENT_ID_BYTES,
  contentKey,
  ContentValueLayout,
  sealValue,
  valueIsIntact,
} from "../format/index.ts";
import type { MapWatch } from "./map-watch.ts";
import type { SpaceMap } from "./space-map.ts";

const PROBES_MAX = 8;
const WORDS = CONTENT_ID_BYTES / 4;
const CAPACITY_START = 1024;
/** A table that one large batch has grown beyond this is not kept. */
const CAPACITY_KEPT_MAX = 65_536;

export interface StoredContent {
  readonly physical: number;
  readonly references: number;
  readonly fingerprintTail: Uint8Array;
}

/** Undefined if the value cannot be believed. */
export function decodeContent(key: Uint8Array, value: Uint8Array): StoredContent | undefined {
  const at = ContentValueLayout.at;
  if (!contentIsIntact(key, value)) return undefined;
  return {
    physical: getU40(value, at.physical),
    references: getU32(value, at.references),
    fingerprintTail: value.slice(at.fingerprintTail, at.fingerprintTail + CONTENT_ID_BYTES),
  };
}

export function contentIsIntact(key: Uint8Array, value: Uint8Array): boolean {
  return value.length === ContentValueLayout.sizeBytes && valueIsIntact(key, value);
}

/** Whether a content is new with this batch, and where its block comes from. */
const KNOWN = 0;
const ALLOCATED = 1;
const ADOPTED = 2;
const NO_PLACE = -1;
/** What `#find` says: nothing has the id, or something does and cannot be believed. */
const ABSENT = -1;
const DAMAGED = -2;

/** A row of the table, until the batch is over. */
export type ContentRow = number;

export class ContentReferences {
  /** Of those who walk over the maps meanwhile. */
  readonly watches: Set<MapWatch> = new Set();
  readonly #metadata: MetadataStore;
  readonly #space: SpaceMap;
  readonly #onMissing: (id: Uint8Array) => void;
  readonly #key: Uint8Array = new Uint8Array(1 + CONTENT_ID_BYTES);
  readonly #value: Uint8Array = new Uint8Array(ContentValueLayout.sizeBytes);
  readonly #probeId: Uint8Array = new Uint8Array(CONTENT_ID_BYTES);
  /** Hash slots: row + 1, or 0. Four per row at most one of which is used. */
  #slots: Int32Array = new Int32Array(0);
  #ids: Uint32Array = new Uint32Array(0);
  #tails: Uint32Array = new Uint32Array(0);
  #physical: Float64Array = new Float64Array(0);
  #references: Float64Array = new Float64Array(0);
  #changes: Int32Array = new Int32Array(0);
  #origins: Uint8Array = new Uint8Array(0);
  #size = 0;

  constructor(metadata: MetadataStore, space: SpaceMap, onMissing: (id: Uint8Array) => void) {
    this.#metadata = metadata;
    this.#space = space;
    this.#onMissing = onMissing;
    this.#allocate(CAPACITY_START);
  }

  #allocate(capacity: number): void {
    this.#ids = grown(new Uint32Array(capacity * WORDS), this.#ids);
    this.#tails = grown(new Uint32Array(capacity * WORDS), this.#tails);
    this.#physical = grown(new Float64Array(capacity), this.#physical);
    this.#references = grown(new Float64Array(capacity), this.#references);
    this.#changes = grown(new Int32Array(capacity), this.#changes);
    this.#origins = grown(new Uint8Array(capacity), this.#origins);
    this.#slots = new Int32Array(capacity * 4);
    for (let row = 0; row < this.#size; row++) this.#slots[this.#freeSlot(row)] = row + 1;
  }

  #freeSlot(row: number): number {
    const mask = this.#slots.length - 1;
    let slot = this.#ids[row * WORDS]! & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    return slot;
  }

  /** Forgets all rows. */
  clear(): void {
    this.#size = 0;
    if (this.#physical.length > CAPACITY_KEPT_MAX) this.#allocate(CAPACITY_START);
    else this.#slots.fill(0);
  }

  physicalOf(row: ContentRow): number {
    return this.#physical[row]!;
  }

  /** Allocated by this batch, so that its data must be written before the batch is committed. */
  isAllocated(row: ContentRow): boolean {
    return this.#origins[row] === ALLOCATED;
  }

  /** Net change of the reference count so far. */
  changeOf(row: ContentRow): number {
    return this.#changes[row]!;
  }

  /** Copies the 16 bytes of the id. */
  copyId(row: ContentRow, into: Uint8Array, at: number): void {
    for (let word = 0; word < WORDS; word++) {
      setU32(into, at + word * 4, this.#ids[row * WORDS + word]!);
    }
  }

  #find(id: Uint8Array, at: number): ContentRow {
    const mask = this.#slots.length - 1;
    const first = getU32(id, at);
    let slot = first & mask;
    for (;;) {
      const row = this.#slots[slot]! - 1;
      if (row < 0) return this.#load(id, at);
      const words = row * WORDS;
      if (
        this.#ids[words] === first &&
        this.#ids[words + 1] === getU32(id, at + 4) &&
        this.#ids[words + 2] === getU32(id, at + 8) &&
        this.#ids[words + 3] === getU32(id, at + 12)
      ) {
        return row;
      }
      slot = (slot + 1) & mask;
    }
  }

  /** Fetches an entry from the content map. */
  #load(id: Uint8Array, at: number): ContentRow {
    const key = contentKey(id, at, this.#key);
    const value = this.#metadata.get(key);
    if (value === undefined) return ABSENT;
    if (!contentIsIntact(key, value)) return DAMAGED;
    const layout = ContentValueLayout.at;
    const row = this.#add(id, at, value, layout.fingerprintTail);
    this.#physical[row] = getU40(value, layout.physical);
    this.#references[row] = getU32(value, layout.references);
    return row;
  }

  /** Its block and its references are for the caller to fill in. */
  #add(id: Uint8Array, at: number, tail: Uint8Array, tailAt: number): ContentRow {
    if (this.#size === this.#physical.length) this.#allocate(this.#size * 2);
    const row = this.#size++;
    for (let word = 0; word < WORDS; word++) {
      this.#ids[row * WORDS + word] = getU32(id, at + word * 4);
      this.#tails[row * WORDS + word] = getU32(tail, tailAt + word * 4);
    }
    this.#changes[row] = 0;
    this.#origins[row] = KNOWN;
    this.#slots[this.#freeSlot(row)] = row + 1;
    return row;
  }

  #tailEquals(row: ContentRow, tail: Uint8Array, at: number): boolean {
    for (let word = 0; word < WORDS; word++) {
      if (this.#tails[row * WORDS + word] !== getU32(tail, at + word * 4)) return false;
    }
    return true;
  }

  /**
   * Adds a reference to the content with this fingerprint. If it is new it gets the reserved block
   * `place`, which holds it already, or a block that is allocated.
   */
  acquire(fingerprints: Uint8Array, at: number, place: number = NO_PLACE): ContentRow {
    const tailAt = at + CONTENT_ID_BYTES;
    let id = fingerprints;
    let idAt = at;
    for (let probe = 0; probe < PROBES_MAX; probe++) {
      const row = this.#find(id, idAt);
      // Entries may point to one that is damaged: its id stays theirs.
      if (row === ABSENT) {
        const physical = this.#takeBlock(place);
        const created = this.#add(id, idAt, fingerprints, tailAt);
        this.#physical[created] = physical;
        this.#references[created] = 0;
        this.#origins[created] = place === NO_PLACE ? ALLOCATED : ADOPTED;
        this.#changes[created] = 1;
        return created;
      }
      if (row !== DAMAGED && this.#tailEquals(row, fingerprints, tailAt)) {
        this.#changes[row]!++;
        return row;
      }
      if (probe === 0) {
        this.#probeId.set(fingerprints.subarray(at, tailAt));
        id = this.#probeId;
        idAt = 0;
      }
      this.#probeId[CONTENT_ID_BYTES - 1]!++;
    }
    throw new CodedError({
      code: "fingerprint-collision",
      message: `more than ${PROBES_MAX} contents share the first half of a fingerprint`,
    });
  }

  /** The content with this fingerprint, if it is stored; -1 otherwise. */
  find(fingerprints: Uint8Array, at: number): ContentRow {
    const row = this.#find(fingerprints, at);
    return row >= 0 && this.#tailEquals(row, fingerprints, at + CONTENT_ID_BYTES) ? row : -1;
  }

  /** Adds a reference to one that was found. */
  refer(row: ContentRow): void {
    this.#changes[row]!++;
  }

  #takeBlock(place: number): number {
    if (place !== NO_PLACE) {
      this.#space.adopt(place);
      return place;
    }
    const physical = this.#space.allocate();
    if (physical !== undefined) return physical;
    throw new CodedError({ code: "no-space", message: "the block store has no free block" });
  }

  /** Adds a reference to a content that an entry of the logical map points to, at `physical`. */
  share(ids: Uint8Array, at: number, physical: number): void {
    const row = this.#find(ids, at);
    if (row < 0 || this.#physical[row] !== physical) this.#tellMissing(ids, at, physical);
    else this.#changes[row]!++;
  }

  /** Takes one reference away: that of an entry which points to `physical`. */
  drop(ids: Uint8Array, at: number, physical: number): void {
    const row = this.#find(ids, at);
    const isThere = row >= 0 && this.#physical[row] === physical;
    if (!isThere || this.#references[row]! + this.#changes[row]! <= 0)
      this.#tellMissing(ids, at, physical);
    else this.#changes[row]!--;
  }

  #tellMissing(ids: Uint8Array, at: number, physical: number): void {
    for (const watch of this.watches) watch.noteBlock(physical);
    this.#onMissing(ids.slice(at, at + CONTENT_ID_BYTES));
  }

  /** Puts all changes into the batch; returns the blocks that it frees. */
  writeTo(batch: MetadataBatch): number[] {
    const freed: number[] = [];
    const key = this.#key;
    this.#tellWatches();
    for (let row = 0; row < this.#size; row++) {
      const isNew = this.#origins[row] !== KNOWN;
      if (this.#changes[row] === 0 && !isNew) continue;
      const references = this.#references[row]! + this.#changes[row]!;
      assert(references >= 0, "reference count below zero");
      this.copyId(row, this.#probeId, 0);
      contentKey(this.#probeId, 0, key);
      if (references > 0) batch.put(key, this.#encode(row, references));
      else if (!isNew) batch.delete(key);
      if (references === 0) freed.push(this.#physical[row]!);
    }
    return freed;
  }

  /** Pointers have moved between pages even where their number stays. */
  #tellWatches(): void {
    for (const watch of this.watches)
      for (let row = 0; row < this.#size; row++) watch.noteBlock(this.#physical[row]!);
  }

  #encode(row: ContentRow, references: number): Uint8Array {
    const at = ContentValueLayout.at;
    const value = this.#value;
    setU40(value, at.physical, this.#physical[row]!);
    setU32(value, at.references, references);
    for (let word = 0; word < WORDS; word++) {
      setU32(value, at.fingerprintTail + word * 4, this.#tails[row * WORDS + word]!);
    }
    sealValue(this.#key, value);
    return value;
  }

  /** Gives back what was allocated for a batch that will not be committed. */
  abandon(): void {
    for (let row = 0; row < this.#size; row++) {
      const physical = this.#physical[row]!;
      if (this.#origins[row] === ALLOCATED) this.#space.unallocate(physical);
      else if (this.#origins[row] === ADOPTED) this.#space.unadopt(physical);
    }
    this.clear();
  }
}
