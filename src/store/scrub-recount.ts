/**
 * Scrub: counts the pointers to a few blocks of the block store exactly, by content. That is asked
 * of blocks only where a walk over all of them has found something odd.
 */
import { marks } from "../base/index.ts";
import {
  CONTENT_ID_BYTES,
  contentKey,
  keyAfterPrefix,
  PAGE_ENTRIES_BYTES,
  PHYSICAL_MAX,
  TABLE_CONTENT,
  TABLE_LOGICAL,
} from "../format/index.ts";
import { decodeContent } from "./content-references.ts";
import { contentAt, decodePage, ENTRY_BYTES, physicalOf } from "./logical-map.ts";
import { MapWatch } from "./map-watch.ts";
import type { ScrubFindings } from "./scrub-report.ts";
import type { ScrubWalk } from "./scrub-walk.ts";

/** Blocks that are counted in one walk: some 20 MiB. */
export const SUSPECTS_MAX = 65_536;
/** Blocks that are judged in one hold of the maps. */
const JUDGED_AT_ONCE = 512;
/** How often blocks are counted that others change meanwhile. */
const WALKS_MAX = 3;

interface CountedContent {
  readonly key: Uint8Array;
  readonly references: number;
  pointers: number;
}

interface CountedBlock {
  /** By the text of its id: one, unless two claim the block. */
  readonly contents: Map<string, CountedContent>;
  dangling: number;
}

/** Adds what is wrong. What changes during each of a few walks is not judged. */
export async function recount(
  walk: ScrubWalk,
  findings: ScrubFindings,
  suspects: ReadonlySet<number>,
): Promise<void> {
  let left = suspects;
  for (let walks = 0; walks < WALKS_MAX && left.size > 0; walks++) {
    if (walks > 0) marks.hit("a block that a scrub suspected changed while it was counted");
    left = await new Recount(walk, findings, left).run();
  }
}

class Recount {
  readonly #walk: ScrubWalk;
  readonly #findings: ScrubFindings;
  readonly #blocks = new Map<number, CountedBlock>();
  readonly #watch: MapWatch;

  constructor(walk: ScrubWalk, findings: ScrubFindings, suspects: ReadonlySet<number>) {
    this.#walk = walk;
    this.#findings = findings;
    let first = Infinity;
    let last = 0;
    for (const physical of suspects) {
      this.#blocks.set(physical, { contents: new Map(), dangling: 0 });
      first = Math.min(first, physical);
      last = Math.max(last, physical);
    }
    this.#watch = new MapWatch(first, last - first + 1);
  }

  /** Returns the blocks that changed meanwhile. */
  async run(): Promise<Set<number>> {
    const { watches } = this.#walk.state.contents;
    try {
      await this.#walk.alone(() => void watches.add(this.#watch));
      await this.#findContents();
      await this.#countPointers();
      return await this.#judge();
    } finally {
      watches.delete(this.#watch);
    }
  }

  async #findContents(): Promise<void> {
    const from = Uint8Array.of(TABLE_CONTENT);
    await this.#walk.scan(from, keyAfterPrefix(from), (key, value) => {
      const stored = decodeContent(key, value);
      const block = stored && this.#blocks.get(stored.physical);
      if (block === undefined) return true;
      const { references } = stored!;
      block.contents.set(keyText(key), { key: key.slice(), references, pointers: 0 });
      return true;
    });
  }

  async #countPointers(): Promise<void> {
    const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
    const key = new Uint8Array(1 + CONTENT_ID_BYTES);
    const from = Uint8Array.of(TABLE_LOGICAL);
    await this.#walk.scan(from, keyAfterPrefix(from), (pageKey, value) => {
      if (!decodePage(pageKey, value, entries, 0)) return true;
      for (let at = 0; at < PAGE_ENTRIES_BYTES; at += ENTRY_BYTES) {
        const physical = physicalOf(entries, at);
        const block = physical < PHYSICAL_MAX ? this.#blocks.get(physical) : undefined;
        if (block === undefined) continue;
        const content = block.contents.get(keyText(contentKey(entries, contentAt(at), key)));
        if (content === undefined) block.dangling++;
        else content.pointers++;
      }
      return true;
    });
  }

  async #judge(): Promise<Set<number>> {
    const changed = new Set<number>();
    const blocks = [...this.#blocks];
    for (let first = 0; first < blocks.length; first += JUDGED_AT_ONCE) {
      const some = blocks.slice(first, first + JUDGED_AT_ONCE);
      await this.#walk.alone(() => {
        for (const [physical, block] of some)
          if (this.#isAsCounted(physical, block)) this.#report(block);
          else changed.add(physical);
      });
    }
    return changed;
  }

  #isAsCounted(physical: number, { contents }: CountedBlock): boolean {
    if (this.#watch.hasBlock(physical)) return false;
    return [...contents.values()].every(({ key, references }) => {
      const value = this.#walk.state.metadata.get(key);
      const stored = value && decodeContent(key, value);
      return stored?.physical === physical && stored.references === references;
    });
  }

  #report({ contents, dangling }: CountedBlock): void {
    this.#findings.danglingPointers += dangling;
    for (const { pointers, references } of contents.values()) {
      if (pointers < references) this.#findings.countsTooHigh++;
      else if (pointers > references) this.#findings.countsTooLow++;
    }
  }
}

function keyText(key: Uint8Array): string {
  let text = "";
  for (let i = 1; i < key.length; i += 2) text += String.fromCharCode(key[i]! | (key[i + 1]! << 8));
  return text;
}
