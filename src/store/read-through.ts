/**
 * Reads everything that a device stores, a part at a time, past all caches, and compares it with
 * its fingerprint. Each content is read once, however many blocks point to it. Where the last part
 * has ended, and up to when its time was used, is on the device, so that a host that starts anew
 * goes on there. Unlike a scrub it holds nothing up: a block that is freed meanwhile is not used
 * again before it has been read.
 */
import { BLOCK_SIZE_BYTES, CodedError, equalBytes, getU48, marks, setU48 } from "../base/index.ts";
import { FINGERPRINT_BYTES, MetadataBatch } from "../ports/index.ts";
import type { DiskFault, DiskMemory } from "../ports/index.ts";
import {
  badBlockKey,
  CONTENT_ID_BYTES,
  contentKey,
  getBigEndian,
  keyAfterPrefix,
  logicalKey,
  PAGE_BLOCKS,
  PAGE_ENTRIES_BYTES,
  PHYSICAL_HOLE,
  PHYSICAL_ZERO,
  readThroughKey,
  readUntilKey,
  TABLE_CONTENT,
  TABLE_LOGICAL,
} from "../format/index.ts";
import { decodeContent } from "./content-references.ts";
import type { StoredContent } from "./content-references.ts";
import type { Device } from "./device.ts";
import type { DeviceState } from "./device-state.ts";
import type { HurtPlace } from "./hurt-places.ts";
import {
  contentAt,
  decodePage,
  ENTRY_BYTES,
  entryOffset,
  pageOf,
  physicalOf,
} from "./logical-map.ts";

export const READ_THROUGH_BLOCKS: number = 256;
/** Pages that are looked at before others get a turn. */
const PAGES_AT_ONCE = 1024;
/** Writing any of the blocks of a content again mends it for all. */
const PLACES_MAX = 8;
const READ_UNTIL_BYTES = 6;

export interface ReadThroughPart {
  readonly blocksRead: number;
  readonly damagedBlocks: number;
  /** It begins again with the next part. */
  readonly isAtEnd: boolean;
}

/** A block of a component whose content is damaged. */
export interface DamagedPlace {
  readonly componentId: string;
  readonly objectId: string;
  readonly blockIndex: number;
}

type Stored = StoredContent & { readonly id: Uint8Array };

export class ReadThrough {
  readonly #state: DeviceState;
  readonly #memory: DiskMemory;
  /** The key of the next content; undefined: from the beginning. */
  #next: Uint8Array | undefined;
  #readUntilMs: number | undefined;

  constructor(device: Device) {
    this.#state = device.state;
    this.#memory = device.allocate(READ_THROUGH_BLOCKS * BLOCK_SIZE_BYTES);
    const key = this.#state.metadata.get(readThroughKey())?.slice();
    // Whatever is there that is no key of a content: from the beginning.
    this.#next = key?.[0] === TABLE_CONTENT ? key : undefined;
    const until = this.#state.metadata.get(readUntilKey());
    this.#readUntilMs = until?.length === READ_UNTIL_BYTES ? getU48(until, 0) : undefined;
  }

  /**
   * Up to when, in milliseconds since 1970, what was due has been read; undefined if nobody has
   * said so yet. By people's clocks, which may have jumped since.
   */
  get readUntilMs(): number | undefined {
    return this.#readUntilMs;
  }

  /** Contents that are stored. */
  get blockCount(): number {
    return this.#state.space.usedBlocks;
  }

  /**
   * Reads the next few. Damage is told of as an event of the device. Fails if the disk is gone;
   * then the device has failed, and nothing of it counts as damaged.
   */
  async read(): Promise<ReadThroughPart> {
    const { metadata, readStamps, space } = this.#state;
    const from = this.#next ?? Uint8Array.of(TABLE_CONTENT);
    const ids: Uint8Array[] = [];
    const tails: Uint8Array[] = [];
    const physical: number[] = [];
    let next: Uint8Array | undefined;
    const stamp = readStamps.begin();
    try {
      metadata.scan(from, keyAfterPrefix(Uint8Array.of(TABLE_CONTENT)), (key, value) => {
        if (ids.length === READ_THROUGH_BLOCKS) {
          next = key.slice();
          return false;
        }
        const stored = decodeContent(key, value);
        if (stored === undefined) return true;
        ids.push(key.slice(1));
        tails.push(stored.fingerprintTail.slice());
        physical.push(stored.physical);
        return true;
      });
      const damagedBlocks = await this.#check(ids, tails, physical);
      this.#next = next;
      return { blocksRead: ids.length, damagedBlocks, isAtEnd: next === undefined };
    } finally {
      readStamps.end(stamp, space);
    }
  }

  async #check(
    ids: readonly Uint8Array[],
    tails: readonly Uint8Array[],
    physical: readonly number[],
  ): Promise<number> {
    const { requests, superblock, digests, badBlocks } = this.#state;
    const memory = this.#memory;
    const unreadable = new Set<number>();
    let fault: unknown;
    await Promise.all(
      physical.map(async (block, i) => {
        const offset = superblock.blocksOffset + block * BLOCK_SIZE_BYTES;
        try {
          await requests.read(memory, i * BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES, offset);
        } catch (error) {
          if (isFaultOf(error, "read-error")) unreadable.add(i);
          else fault ??= error;
        }
      }),
    );
    if (fault !== undefined) throw this.#gone(fault);
    if (unreadable.size > 0 && unreadable.size === ids.length) await this.#requireSuperblock();
    const offsets = Float64Array.from(ids, (_, i) => i * BLOCK_SIZE_BYTES);
    const fingerprints = new Uint8Array(ids.length * FINGERPRINT_BYTES);
    await digests.fingerprint(memory, offsets, ids.length, fingerprints);
    let damagedBlocks = 0;
    for (const [i, block] of physical.entries()) {
      const print = fingerprints.subarray(i * FINGERPRINT_BYTES, (i + 1) * FINGERPRINT_BYTES);
      // The last byte of an id may have been moved on by a collision.
      const isHead = equalBytes(
        print.subarray(0, CONTENT_ID_BYTES - 1),
        ids[i]!.subarray(0, CONTENT_ID_BYTES - 1),
      );
      const isGood = isHead && equalBytes(print.subarray(CONTENT_ID_BYTES), tails[i]!);
      if (!unreadable.has(i) && isGood) continue;
      damagedBlocks++;
      // What is known is waiting to be written again.
      if (badBlocks.has(block)) continue;
      const reason = unreadable.has(i) ? "it cannot be read" : "it has another fingerprint";
      this.#state.blockDamaged({ component: 0, blockIndex: 0, physical: block, reason });
    }
    return damagedBlocks;
  }

  /** Nothing could be read: a few blocks are damaged, or a disk is dead. */
  async #requireSuperblock(): Promise<void> {
    try {
      await this.#state.requests.read(this.#memory, 0, BLOCK_SIZE_BYTES, 0);
    } catch (error) {
      throw this.#gone(error);
    }
  }

  #gone(error: unknown): unknown {
    const { journal } = this.#state;
    if (!(error instanceof CodedError) || journal.hasFailed) return error;
    marks.hit("a dead disk was found by looking for damage");
    journal.fail();
    return error;
  }

  /** Blocks that are known to be damaged and wait to be written again. */
  get knownDamaged(): number {
    return this.#state.badBlocks.size;
  }

  /** Blocks in which damage was found, and which were not seen to be well since. */
  get hurtCount(): number {
    return this.#state.hurt.count;
  }

  /** True once all of those were written again, or are gone, and were read well from the disk. */
  async areMended(): Promise<boolean> {
    const { badBlocks, hurt } = this.#state;
    if (badBlocks.size > 0 || !hurt.isWhole) return false;
    const places = hurt.all();
    for (let at = 0; at < places.length; at += READ_THROUGH_BLOCKS) {
      const some = places.slice(at, at + READ_THROUGH_BLOCKS).map((place) => this.#storedAt(place));
      if (some.includes("unknown")) return false;
      const stored = some.filter((one) => typeof one !== "string");
      const ids = stored.map(({ id }) => id);
      const tails = stored.map(({ fingerprintTail }) => fingerprintTail);
      const physical = stored.map((one) => one.physical);
      if ((await this.#check(ids, tails, physical)) > 0) return false;
    }
    hurt.clear();
    return true;
  }

  /** What nobody needs any more is not damaged: the next content is written whole. */
  async #forgetFreed(): Promise<void> {
    const { badBlocks, metadata, space } = this.#state;
    const freed = [...badBlocks].filter((block) => !space.isTaken(block));
    if (freed.length === 0) return;
    marks.hit("a damaged block was freed");
    const batch = new MetadataBatch();
    for (const block of freed) {
      badBlocks.delete(block);
      batch.delete(badBlockKey(block));
    }
    await metadata.commit(batch);
  }

  /** "gone" where nothing is stored any more; "unknown" where the maps do not say what is. */
  #storedAt({ component, blockIndex }: HurtPlace): Stored | "gone" | "unknown" {
    const { metadata, components } = this.#state;
    if (components.at(component) === undefined) return "gone";
    const page = pageOf(blockIndex);
    const ownKey = logicalKey(component, page);
    const own = metadata.get(ownKey);
    const pageKey =
      own === undefined ? logicalKey(components.baseOf(component, page), page) : ownKey;
    const value = own ?? metadata.get(pageKey);
    const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
    if (value === undefined) return "gone";
    if (!decodePage(pageKey, value, entries, 0)) return "unknown";
    const at = entryOffset(blockIndex);
    const physical = physicalOf(entries, at);
    if (physical === PHYSICAL_HOLE || physical === PHYSICAL_ZERO) return "gone";
    const id = entries.slice(contentAt(at), contentAt(at) + CONTENT_ID_BYTES);
    const key = contentKey(id, 0);
    const content = metadata.get(key);
    const stored = content === undefined ? undefined : decodeContent(key, content);
    return stored?.physical === physical ? { ...stored, id } : "unknown";
  }

  /** Durably: where it has come to, and `readUntilMs`. */
  async save(readUntilMs: number): Promise<void> {
    this.#readUntilMs = Math.floor(readUntilMs);
    const batch = new MetadataBatch();
    const until = new Uint8Array(READ_UNTIL_BYTES);
    setU48(until, 0, this.#readUntilMs);
    batch.put(readUntilKey(), until);
    if (this.#next === undefined) batch.delete(readThroughKey());
    else batch.put(readThroughKey(), this.#next);
    await this.#state.metadata.commit(batch);
  }

  /** Blocks whose contents are known to be damaged, a few for each content. */
  async damagedPlaces(): Promise<readonly DamagedPlace[]> {
    await this.#forgetFreed();
    const { badBlocks, metadata, components, clock } = this.#state;
    const places: DamagedPlace[] = [];
    const counts = new Map<number, number>();
    const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
    let from: Uint8Array | undefined = Uint8Array.of(TABLE_LOGICAL);
    const end = keyAfterPrefix(from);
    while (from !== undefined && badBlocks.size > 0) {
      let pages = 0;
      let next: Uint8Array | undefined;
      metadata.scan(from, end, (key, value) => {
        if (pages++ === PAGES_AT_ONCE) {
          next = key.slice();
          return false;
        }
        if (!decodePage(key, value, entries, 0)) return true;
        const info = components.at(getBigEndian(key, 1, 4));
        if (info === undefined || info.deleting) return true;
        const firstBlock = getBigEndian(key, 5, 4) * PAGE_BLOCKS;
        for (let i = 0; i < PAGE_BLOCKS; i++) {
          const physical = physicalOf(entries, i * ENTRY_BYTES);
          const count = counts.get(physical) ?? 0;
          if (!badBlocks.has(physical) || count === PLACES_MAX) continue;
          counts.set(physical, count + 1);
          const { componentId, objectId } = info;
          this.#state.hurt.add({ component: info.index, blockIndex: firstBlock + i });
          places.push({ componentId, objectId, blockIndex: firstBlock + i });
        }
        return true;
      });
      from = next;
      if (from !== undefined) await new Promise<void>((resolve) => void clock.after(1, resolve));
    }
    return places;
  }
}

function isFaultOf(error: unknown, fault: DiskFault): boolean {
  return error instanceof CodedError && error.code === fault;
}
