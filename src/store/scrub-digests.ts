/**
 * Scrub: do digests, page presence and mapped counts follow from the logical entries?
 *
 * Each group of digests is compared with its pages while nothing changes the maps, a few groups at
 * a time. The number of blocks that a component has mapped is the sum over its groups, so it is
 * compared only if nothing changed the component's pages while they were walked over.
 */
import {
  getBigEndian,
  keyAfterPrefix,
  logicalKey,
  PAGE_BLOCKS,
  PAGE_ENTRIES_BYTES,
  PAGES_PER_GROUP,
  PHYSICAL_DAMAGED,
  PHYSICAL_MAX,
  TABLE_LOGICAL,
} from "../format/index.ts";
import { equalBytes } from "../base/index.ts";
import type { ComponentInfo } from "./component-table.ts";
import { firstPages, knownPages } from "./known-pages.ts";
import { contentAt, decodePage, ENTRY_BYTES, physicalOf } from "./logical-map.ts";
import { MapWatch } from "./map-watch.ts";
import { RegionGroup, regionGroupOfPage } from "./region-map.ts";
import type { ScrubFindings } from "./scrub-report.ts";
import type { ScrubWalk } from "./scrub-walk.ts";

/** What one hold of the maps looks at, beside as many values as one turn does. */
const GROUPS_PER_HOLD = 64;

/** The component that the walk is in. */
interface Counted {
  readonly component: number;
  readonly isWhole: boolean;
  mapped: number;
}

export class DigestScrub {
  readonly #walk: ScrubWalk;
  readonly #findings: ScrubFindings;
  readonly #onPage: (component: number, page: number) => void;
  readonly #watch = new MapWatch(0, 0);
  readonly #entries = new Uint8Array(PAGE_ENTRIES_BYTES);
  readonly #end: Uint8Array = keyAfterPrefix(Uint8Array.of(TABLE_LOGICAL));
  #counted: Counted | undefined;

  constructor(
    walk: ScrubWalk,
    findings: ScrubFindings,
    onPage: (component: number, page: number) => void,
  ) {
    this.#walk = walk;
    this.#findings = findings;
    this.#onPage = onPage;
  }

  async run(): Promise<void> {
    const { watches } = this.#walk.state.contents;
    try {
      await this.#walk.alone(() => void watches.add(this.#watch));
      let from: Uint8Array | undefined = Uint8Array.of(TABLE_LOGICAL);
      while (from !== undefined) {
        const start: Uint8Array = from;
        from = await this.#walk.alone(() => this.#someGroups(start));
        await this.#walk.othersTurn();
      }
      await this.#walk.alone(() => this.#judgeEmpty());
    } finally {
      watches.delete(this.#watch);
    }
  }

  /** Returns where to go on. */
  #someGroups(start: Uint8Array): Uint8Array | undefined {
    let from: Uint8Array | undefined = start;
    let pages = 0;
    const { valuesAtOnce } = this.#walk;
    for (let group = 0; group < GROUPS_PER_HOLD && pages < valuesAtOnce; group++) {
      const first: Uint8Array | undefined = this.#firstKey(from);
      if (first === undefined) {
        this.#judgeMapped();
        return undefined;
      }
      const component = getBigEndian(first, 1, 4);
      if (component !== this.#counted?.component) {
        this.#judgeMapped();
        this.#enter(component);
      }
      const number = regionGroupOfPage(getBigEndian(first, 5, 4));
      pages += this.#compareGroup(component, number);
      this.#onPage(component, number * PAGES_PER_GROUP);
      from = logicalKey(component, (number + 1) * PAGES_PER_GROUP);
    }
    return from;
  }

  #firstKey(from: Uint8Array): Uint8Array | undefined {
    let first: Uint8Array | undefined;
    this.#walk.state.metadata.scan(from, this.#end, (key) => {
      first = key.slice();
      return false;
    });
    return first;
  }

  #enter(component: number): void {
    this.#watch.forgetComponent(component);
    const isWhole = this.#walk.state.components.at(component)?.base === 0;
    this.#counted = { component, isWhole, mapped: 0 };
  }

  /** Called while nothing changes the maps, after the last group of the component. */
  #judgeMapped(): void {
    const counted = this.#counted;
    if (counted === undefined) return;
    const info = this.#walk.state.components.at(counted.component);
    // What a component shares is counted where it is.
    if (info === undefined || info.deleting || info.base !== 0 || !counted.isWhole) return;
    if (this.#watch.hasComponent(counted.component)) return;
    if (info.mappedBlocks !== counted.mapped) this.#findings.wrongDigests++;
  }

  /** Those that the walk did not come to. */
  #judgeEmpty(): void {
    for (const info of this.#walk.state.components.all()) {
      if (info.deleting || info.base !== 0 || info.mappedBlocks === 0) continue;
      const search = { first: 0, last: 2 ** 32 - 2, pagesMax: 1 };
      const [page] = firstPages(this.#walk.state, info.index, search);
      if (page === undefined) this.#findings.wrongDigests++;
    }
  }

  /** Returns how many pages were looked at. */
  #compareGroup(component: number, number: number): number {
    const { state } = this.#walk;
    const expected = new RegionGroup();
    let pages = 0;
    const first = number * PAGES_PER_GROUP;
    const end = logicalKey(component, first + PAGES_PER_GROUP);
    state.metadata.scan(logicalKey(component, first), end, (key, value) => {
      pages++;
      const page = getBigEndian(key, 5, 4);
      expected.setPage(page, true);
      if (!decodePage(key, value, this.#entries, 0)) this.#findings.damagedMetadata++;
      else this.#counted!.mapped += this.#addPage(page, expected, true);
      return true;
    });
    const info = state.components.at(component);
    if (info !== undefined && info.base !== 0) pages += this.#addShared(info, number, expected);
    if (!sameGroup(expected, state.regions.group(component, number))) this.#findings.wrongDigests++;
    return pages;
  }

  /** Returns how many of its blocks are mapped. */
  #addPage(page: number, into: RegionGroup, isOwn: boolean): number {
    let mapped = 0;
    for (let i = 0; i < PAGE_BLOCKS; i++) {
      const at = i * ENTRY_BYTES;
      const physical = physicalOf(this.#entries, at);
      if (isOwn && physical === PHYSICAL_DAMAGED) this.#findings.damagedBlocks++;
      if (physical >= PHYSICAL_MAX) continue;
      into.change(page * PAGE_BLOCKS + i, this.#entries, contentAt(at), 1);
      mapped++;
    }
    return mapped;
  }

  /**
   * Digests of a group tell of all that the component holds, shared pages included. Returns how
   * many these are.
   */
  #addShared(info: ComponentInfo, group: number, into: RegionGroup): number {
    const first = group * PAGES_PER_GROUP;
    const end = Math.min(first + PAGES_PER_GROUP, info.basePages);
    if (end <= first) return 0;
    let shared = 0;
    for (const page of knownPages(this.#walk.state, info.index, first, end - 1)) {
      if (into.hasPage(page)) continue;
      this.#walk.state.logical.read(info.index, page, this.#entries, 0);
      this.#addPage(page, into, false);
      shared++;
    }
    return shared;
  }
}

function sameGroup(a: RegionGroup, b: RegionGroup): boolean {
  return (
    a.digests.every((word, i) => word === b.digests[i]) &&
    equalBytes(a.pagesPresent, b.pagesPresent)
  );
}
