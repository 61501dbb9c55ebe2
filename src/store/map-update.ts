/**
 * One atomic change of a device's maps: logical pages, content references, region digests, space
 * map and counters. Changes gather in copies; `commit` writes data-independent metadata as one
 * batch, and only then do the copies become what readers see. Abandoned updates leave no trace.
 *
 * Crash order: new content is on disk before the batch that refers to it, a freed block is not
 * handed out before the batch that freed it is durable. Within a batch, counts and pointers change
 * together.
 */
import { assert, marks, SlabPool } from "../base/index.ts";
import { MetadataBatch } from "../ports/index.ts";
import {
  componentKey,
  logicalKey,
  PAGE_ENTRIES_BYTES,
  PHYSICAL_HOLE,
  PHYSICAL_MAX,
  regionsKey,
  SpaceValueLayout,
  sealValue,
  spaceKey,
} from "../format/index.ts";
import { encodeComponent } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import type { ContentReferences, ContentRow } from "./content-references.ts";
import type { DeviceState } from "./device-state.ts";
import {
  contentAt,
  ENTRY_BYTES,
  encodePage,
  entryOffset,
  pageOf,
  physicalOf,
  sequenceOf,
  setMapped,
  setMarker,
} from "./logical-map.ts";
import { regionGroupOfPage } from "./region-map.ts";
import type { RegionGroup } from "./region-map.ts";

/**
 * Pages that share one array: an array for each would cost more than what is done with it. The
 * first is small, since most updates change a few pages only; each further one has twice as many.
 */
const SLAB_PAGES_FIRST = 4;
const SLAB_PAGES_MAX = 128;
/** Of the largest, as many as rounds of random writes change. */
const slabs = new SlabPool(SLAB_PAGES_MAX * PAGE_ENTRIES_BYTES, 32);

interface PageCopy {
  readonly info: ComponentInfo;
  readonly page: number;
  /** Shared with other pages: this one's entries begin at `start`. */
  readonly entries: Uint8Array;
  readonly start: number;
  remove: boolean;
}

export class MapUpdate {
  readonly #state: DeviceState;
  readonly contents: ContentReferences;
  readonly #pages = new Map<number, PageCopy>();
  readonly #regions = new Map<number, { info: ComponentInfo; group: number; value: RegionGroup }>();
  readonly #mappedChange = new Map<ComponentInfo, number>();
  #recent: PageCopy | undefined;
  #slab: Uint8Array = new Uint8Array(0);
  #slabPages = SLAB_PAGES_FIRST / 2;
  #slabUsed = 0;
  readonly #largeSlabs: Uint8Array[] = [];
  #groups: number[] = [];
  #freed: number[] = [];

  constructor(state: DeviceState) {
    this.#state = state;
    this.contents = state.contents;
    this.contents.clear();
  }

  get pageCount(): number {
    return this.#pages.size;
  }

  #page(info: ComponentInfo, page: number): PageCopy {
    const recent = this.#recent;
    if (recent !== undefined && recent.page === page && recent.info === info) return recent;
    const key = info.index * 2 ** 32 + page;
    let copy = this.#pages.get(key);
    if (copy === undefined) {
      copy = this.#own(info, page);
      const { components, rules } = this.#state;
      for (const heir of rules.givesPages ? components.heirs(info.index) : [])
        if (page < heir.basePages && !this.#hasPage(heir, page)) {
          marks.hit("a page was given to a snapshot");
          this.#own(heir, page);
        }
    }
    this.#recent = copy;
    return copy;
  }

  /** The page as it is now, the component's own from this update on. */
  #own(info: ComponentInfo, page: number): PageCopy {
    const copy: PageCopy = { info, page, ...this.#allocatePage(), remove: false };
    const isShared = !this.#hasPage(info, page) && page < info.basePages;
    this.#state.logical.copyPage(info.index, page, copy.entries, copy.start);
    this.#pages.set(info.index * 2 ** 32 + page, copy);
    this.#region(info, page).setPage(page, true);
    if (isShared) this.#share(copy);
    return copy;
  }

  #hasPage(info: ComponentInfo, page: number): boolean {
    const isChanged = this.#pages.has(info.index * 2 ** 32 + page);
    return isChanged || this.#state.regions.hasPage(info.index, page);
  }

  /** One more entry points to each of the page's contents. */
  #share({ entries, start }: PageCopy): void {
    const end = start + PAGE_ENTRIES_BYTES;
    for (let at = start; at < end; at += ENTRY_BYTES) {
      const physical = physicalOf(entries, at);
      if (physical < PHYSICAL_MAX) this.contents.share(entries, contentAt(at), physical);
    }
  }

  #allocatePage(): { entries: Uint8Array; start: number } {
    if (this.#slabUsed === this.#slab.length) {
      this.#slabPages = Math.min(2 * this.#slabPages, SLAB_PAGES_MAX);
      this.#slab = this.#takeSlab();
      this.#slabUsed = 0;
    }
    const start = this.#slabUsed;
    this.#slabUsed += PAGE_ENTRIES_BYTES;
    return { entries: this.#slab, start };
  }

  #takeSlab(): Uint8Array {
    if (this.#slabPages < SLAB_PAGES_MAX)
      return new Uint8Array(this.#slabPages * PAGE_ENTRIES_BYTES);
    const slab = slabs.take();
    this.#largeSlabs.push(slab);
    return slab;
  }

  #region(info: ComponentInfo, page: number): RegionGroup {
    const group = regionGroupOfPage(page);
    const known = this.#regions.get(info.index * 2 ** 32 + group);
    if (known !== undefined) return known.value;
    this.giveGroup(info, group);
    return this.#ownGroup(info, group);
  }

  #ownGroup(info: ComponentInfo, group: number): RegionGroup {
    const value = this.#state.regions.group(info.index, group).copy();
    this.#regions.set(info.index * 2 ** 32 + group, { info, group, value });
    return value;
  }

  /** Those that share the group's digests get them as they are now. */
  giveGroup(info: ComponentInfo, group: number): void {
    const { components, regions } = this.#state;
    for (const heir of components.heirs(info.index)) {
      if (this.#regions.has(heir.index * 2 ** 32 + group)) continue;
      if (regions.group(heir.index, group).isInherited) this.#ownGroup(heir, group);
    }
  }

  get groupCount(): number {
    return this.#regions.size;
  }

  /** The sequence that last wrote the block, as far as the maps say. */
  sequenceOf(info: ComponentInfo, blockIndex: number): number {
    const page = this.#page(info, pageOf(blockIndex));
    return sequenceOf(page.entries, page.start + entryOffset(blockIndex));
  }

  /** Points the block at a content of which the caller has acquired a reference. */
  map(
    info: ComponentInfo,
    blockIndex: number,
    sequence: number,
    to: { content: ContentRow; checksum: number },
  ): void {
    const page = this.#page(info, pageOf(blockIndex));
    const at = page.start + entryOffset(blockIndex);
    assert(sequenceOf(page.entries, at) < sequence, "older data over newer");
    this.#unmap(info, blockIndex, page.entries, at);
    const { content, checksum } = to;
    const physical = this.contents.physicalOf(content);
    setMapped(page.entries, at, { physical, sequence, checksum });
    this.contents.copyId(content, page.entries, contentAt(at));
    this.#region(info, page.page).change(blockIndex, page.entries, contentAt(at), 1);
    this.#countMapped(info, 1);
  }

  /** Makes the block a hole, an allocated zero or a damaged block, if `sequence` is newer. */
  mark(info: ComponentInfo, blockIndex: number, sequence: number, marker: number): void {
    const page = this.#page(info, pageOf(blockIndex));
    const at = page.start + entryOffset(blockIndex);
    if (sequenceOf(page.entries, at) >= sequence) return;
    this.#unmap(info, blockIndex, page.entries, at);
    setMarker(page.entries, at, marker, sequence);
  }

  #unmap(info: ComponentInfo, blockIndex: number, entries: Uint8Array, at: number): void {
    const physical = physicalOf(entries, at);
    if (physical >= PHYSICAL_MAX) return;
    this.contents.drop(entries, contentAt(at), physical);
    this.#region(info, pageOf(blockIndex)).change(blockIndex, entries, contentAt(at), -1);
    this.#countMapped(info, -1);
  }

  /** Takes a whole page out, with its references: the component is going away. */
  removePage(info: ComponentInfo, page: number): void {
    const copy = this.#page(info, page);
    const end = copy.start + PAGE_ENTRIES_BYTES;
    for (let at = copy.start; at < end; at += ENTRY_BYTES) {
      const physical = physicalOf(copy.entries, at);
      if (physical >= PHYSICAL_MAX) continue;
      this.contents.drop(copy.entries, contentAt(at), physical);
      this.#countMapped(info, -1);
      setMarker(copy.entries, at, PHYSICAL_HOLE, 0);
    }
    this.#region(info, page).setPage(page, false);
    copy.remove = true;
  }

  /** The page becomes the component's own, as it is now. */
  ownPage(info: ComponentInfo, page: number): void {
    if (!this.#hasPage(info, page)) this.#own(info, page);
  }

  /**
   * Takes an own page out that is equal to the one that the component comes to share there: what it
   * holds stays what it is. Goes with `commitShared`.
   */
  sharePage(info: ComponentInfo, page: number): void {
    const copy: PageCopy = { info, page, ...this.#allocatePage(), remove: true };
    this.#state.logical.copyPage(info.index, page, copy.entries, copy.start);
    const end = copy.start + PAGE_ENTRIES_BYTES;
    for (let at = copy.start; at < end; at += ENTRY_BYTES) {
      const physical = physicalOf(copy.entries, at);
      if (physical < PHYSICAL_MAX) this.contents.drop(copy.entries, contentAt(at), physical);
    }
    this.#pages.set(info.index * 2 ** 32 + page, copy);
    const group = regionGroupOfPage(page);
    const known = this.#regions.get(info.index * 2 ** 32 + group)?.value;
    (known ?? this.#ownGroup(info, group)).setPage(page, false);
  }

  /** Has the component's record written with this update. */
  touch(info: ComponentInfo): void {
    this.#countMapped(info, 0);
  }

  #countMapped(info: ComponentInfo, change: number): void {
    this.#mappedChange.set(info, (this.#mappedChange.get(info) ?? 0) + change);
  }

  /**
   * Writes everything as one batch and makes it visible. `also` adds to the batch. On failure
   * nothing is changed and the error passes on.
   */
  async commit(also: (batch: MetadataBatch) => void): Promise<void> {
    const { metadata, space } = this.#state;
    const batch = new MetadataBatch();
    this.#writePages(batch);
    this.#freed = this.contents.writeTo(batch);
    space.beginFree(this.#freed);
    this.#groups = space.takeDirtyGroups();
    for (const group of this.#groups) {
      const value = new Uint8Array(SpaceValueLayout.sizeBytes);
      space.storeGroup(group, value);
      const key = spaceKey(group);
      sealValue(key, value);
      batch.put(key, value);
    }
    also(batch);
    try {
      await metadata.commit(batch);
    } catch (error) {
      space.undoFree(this.#freed);
      space.markGroupsDirty(this.#groups);
      this.#forgetWhatWasSeen();
      throw error;
    } finally {
      batch.release();
    }
    space.groupsStored(this.#groups);
    this.#publish();
    this.#giveMemory();
  }

  /**
   * As `commit`, of nothing but pages that are shared from now on. The caller has said in the table
   * whose they are: a batch can be read before it is durable, so a page that is gone must be looked
   * for there by then.
   */
  async commitShared(also: (batch: MetadataBatch) => void): Promise<void> {
    for (const { info, group, value } of this.#regions.values())
      this.#state.regions.publish(info.index, group, value);
    await this.commit(also);
  }

  #giveMemory(): void {
    this.#pages.clear();
    this.#recent = undefined;
    this.#slab = new Uint8Array(0);
    this.#slabUsed = 0;
    slabs.giveAll(this.#largeSlabs);
  }

  /** A batch can be read before it is durable: somebody may have taken what has failed since. */
  #forgetWhatWasSeen(): void {
    const { logical, regions } = this.#state;
    for (const { info, page } of this.#pages.values()) logical.forget(info.index, page);
    for (const { info, group } of this.#regions.values()) regions.forgetGroup(info.index, group);
  }

  #writePages(batch: MetadataBatch): void {
    for (const watch of this.contents.watches)
      for (const { info } of this.#pages.values()) watch.noteComponent(info.index);
    for (const { info, page, entries, start, remove } of this.#pages.values()) {
      const key = logicalKey(info.index, page);
      if (remove) batch.delete(key);
      else batch.put(key, encodePage(key, entries, start));
    }
    for (const { info, group, value } of this.#regions.values()) {
      const key = regionsKey(info.index, group);
      batch.put(key, value.encode(key));
    }
    for (const [info, change] of this.#mappedChange) {
      batch.put(componentKey(info.index), encodeComponent(info, info.mappedBlocks + change));
    }
  }

  #publish(): void {
    const { logical, regions, space, blockCache } = this.#state;
    for (const { info, page, entries, start, remove } of this.#pages.values()) {
      if (remove) logical.forget(info.index, page);
      else logical.publish(info.index, page, entries, start);
    }
    for (const { info, group, value } of this.#regions.values()) {
      regions.publish(info.index, group, value);
    }
    for (const [info, change] of this.#mappedChange) info.mappedBlocks += change;
    for (const block of this.#freed) blockCache.remove(block);
    space.finishFree(this.#freed, this.#state.readStamps.advance());
    this.#state.readStamps.settle(space);
  }

  /** Forgets everything; allocations go back. */
  abandon(): void {
    this.contents.abandon();
    this.#giveMemory();
  }
}
