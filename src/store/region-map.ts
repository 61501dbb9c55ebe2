/**
 * Digests of regions of 1 MiB, and which logical-map pages exist.
 *
 * A digest is four 32-bit sums over (block index within the region, content id) of the region's
 * blocks with data: adding and subtracting one block's term keeps it exact without looking at the
 * others. Stripe units are whole regions, so a region of the object has the same digest in every
 * leg, however the leg is striped. Two mirrors hold the same data iff their digests are equal; it
 * detects mistakes, it does not resist forgery.
 */
import { getU32, REGION_BLOCKS, setU32 } from "../base/index.ts";
import type { MetadataStore } from "../ports/index.ts";
import type { ComponentTable } from "./component-table.ts";
import {
  PAGES_PER_GROUP,
  regionsKey,
  REGIONS_PER_GROUP,
  RegionsValueLayout,
  sealValue,
  valueIsIntact,
} from "../format/index.ts";

const LANES = 4;
const LANE_FACTORS = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f] as const;
const GROUPS_CACHED_MAX = 4096;
const GROUP_BLOCKS = REGIONS_PER_GROUP * REGION_BLOCKS;

export class RegionGroup {
  readonly digests: Uint32Array = new Uint32Array(REGIONS_PER_GROUP * LANES);
  readonly pagesPresent: Uint8Array = new Uint8Array(PAGES_PER_GROUP / 8);
  damaged = false;
  /** It has no record of its own: its digests are those of the component it shares pages with. */
  isInherited = false;

  copy(): RegionGroup {
    const copy = new RegionGroup();
    copy.digests.set(this.digests);
    copy.pagesPresent.set(this.pagesPresent);
    copy.damaged = this.damaged;
    return copy;
  }

  /** Adds (+1) or takes away (-1) a block's term. */
  change(blockIndex: number, contents: Uint8Array, contentAt: number, sign: 1 | -1): void {
    const region = Math.floor((blockIndex % GROUP_BLOCKS) / REGION_BLOCKS);
    const position = (blockIndex % REGION_BLOCKS) + 1;
    for (let lane = 0; lane < LANES; lane++) {
      let term = getU32(contents, contentAt + lane * 4);
      term ^= Math.imul(position, LANE_FACTORS[lane]!);
      term = Math.imul(term ^ (term >>> 16), 0x85ebca6b);
      term = Math.imul(term ^ (term >>> 13), 0xc2b2ae35);
      term ^= term >>> 16;
      const at = region * LANES + lane;
      this.digests[at] = this.digests[at]! + sign * (term >>> 0);
    }
  }

  setPage(page: number, present: boolean): void {
    const bit = page % PAGES_PER_GROUP;
    if (present) this.pagesPresent[bit >>> 3]! |= 1 << (bit & 7);
    else this.pagesPresent[bit >>> 3]! &= ~(1 << (bit & 7));
  }

  hasPage(page: number): boolean {
    const bit = page % PAGES_PER_GROUP;
    return (this.pagesPresent[bit >>> 3]! & (1 << (bit & 7))) !== 0;
  }

  encode(key: Uint8Array): Uint8Array {
    const value = new Uint8Array(RegionsValueLayout.sizeBytes);
    value.set(this.pagesPresent, RegionsValueLayout.at.pagesPresent);
    for (let i = 0; i < this.digests.length; i++) {
      setU32(value, RegionsValueLayout.at.digests + i * 4, this.digests[i]!);
    }
    sealValue(key, value);
    return value;
  }
}

export function regionGroupOfPage(page: number): number {
  return Math.floor(page / PAGES_PER_GROUP);
}

export class RegionMap {
  readonly #metadata: MetadataStore;
  readonly #onDamage: (component: number, group: number) => void;
  readonly #groups = new Map<number, RegionGroup>();
  readonly #components: ComponentTable;

  constructor(
    metadata: MetadataStore,
    components: ComponentTable,
    onDamage: (component: number, group: number) => void,
  ) {
    this.#metadata = metadata;
    this.#components = components;
    this.#onDamage = onDamage;
  }

  /** The group as it is now; callers copy before they change it. */
  group(component: number, group: number): RegionGroup {
    const cacheKey = component * 2 ** 32 + group;
    const cached = this.#groups.get(cacheKey);
    if (cached !== undefined) return cached;
    const loaded = this.#load(component, group);
    if (this.#groups.size >= GROUPS_CACHED_MAX) {
      for (const oldest of this.#groups.keys()) {
        this.#groups.delete(oldest);
        break;
      }
    }
    this.#groups.set(cacheKey, loaded);
    return loaded;
  }

  #load(component: number, group: number): RegionGroup {
    const result = new RegionGroup();
    const key = regionsKey(component, group);
    const value = this.#metadata.get(key);
    if (value === undefined) {
      const base = this.#components.baseOf(component, group * PAGES_PER_GROUP);
      if (base === 0) return result;
      result.digests.set(this.group(base, group).digests);
      result.isInherited = true;
      return result;
    }
    if (value.length !== RegionsValueLayout.sizeBytes || !valueIsIntact(key, value)) {
      // Nothing can be said about missing pages here: every page counts as one that must exist.
      result.pagesPresent.fill(255);
      result.damaged = true;
      this.#onDamage(component, group);
      return result;
    }
    const pagesAt = RegionsValueLayout.at.pagesPresent;
    result.pagesPresent.set(value.subarray(pagesAt, pagesAt + PAGES_PER_GROUP / 8));
    for (let i = 0; i < result.digests.length; i++) {
      result.digests[i] = getU32(value, RegionsValueLayout.at.digests + i * 4);
    }
    return result;
  }

  /** Whether the component has a page of its own. */
  hasPage(component: number, page: number): boolean {
    return this.group(component, regionGroupOfPage(page)).hasPage(page);
  }

  publish(component: number, group: number, changed: RegionGroup): void {
    this.#groups.set(component * 2 ** 32 + group, changed);
  }

  /** Has the group loaded again. */
  forgetGroup(component: number, group: number): void {
    this.#groups.delete(component * 2 ** 32 + group);
  }

  forget(component: number): void {
    for (const key of this.#groups.keys()) {
      if (Math.floor(key / 2 ** 32) === component) this.#groups.delete(key);
    }
  }
}
