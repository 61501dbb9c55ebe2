/** How far a scrub has come: in blocks that it reads, or what takes as long. */
import { PAGE_BLOCKS } from "../format/index.ts";
import type { DeviceState } from "./device-state.ts";
import { pageOf } from "./logical-map.ts";

/** What a page and a content cost in a walk over the maps, where a block that is read costs 1. */
const PAGE_COST = 1;
const CONTENT_COST = 0.1;

interface Place {
  /** Pages of the components before it, as far as can be told, and its own. */
  readonly before: number;
  readonly pages: number;
  /** Where a component ends. */
  readonly end: number;
}

export class ScrubProgress {
  readonly #tell: (done: number, total: number) => void;
  readonly #places = new Map<number, Place>();
  readonly #pages: number;
  readonly #walkCost: number;
  readonly #total: number;
  #walks = 0;
  /** In the walk under way, in pages. */
  #at = 0;
  #read = 0;

  constructor(
    state: DeviceState,
    options: {
      /** Over all pages. */
      readonly walks: number;
      readonly readsBlocks: boolean;
      readonly tell: (done: number, total: number) => void;
    },
  ) {
    this.#tell = options.tell;
    let pages = 0;
    for (const info of state.components.all().toSorted((a, b) => a.index - b.index)) {
      // What it shares is walked over where it is.
      const own = info.base === 0 ? Math.ceil(info.mappedBlocks / PAGE_BLOCKS) : 0;
      const end = pageOf(Math.max(0, info.blockCount - 1)) + 1;
      this.#places.set(info.index, { before: pages, pages: own, end });
      pages += own;
    }
    this.#pages = pages;
    const contents = state.space.usedBlocks;
    this.#walkCost = PAGE_COST * pages + CONTENT_COST * contents;
    const toRead = options.readsBlocks ? contents : 0;
    this.#total = Math.max(1, options.walks * this.#walkCost + toRead);
  }

  /** The walk has come to a page. */
  page(component: number, page: number): void {
    const place = this.#places.get(component);
    if (place === undefined) return;
    const at = place.before + place.pages * Math.min(1, page / place.end);
    this.#at = Math.max(this.#at, at);
  }

  walkDone(): void {
    this.#walks++;
    this.#at = 0;
    this.tell();
  }

  blocksRead(share: number): void {
    this.#read = Math.min(1, share);
    this.tell();
  }

  tell(): void {
    const walked = this.#pages === 0 ? 0 : (this.#walkCost * this.#at) / this.#pages;
    const mapped = this.#walks * this.#walkCost + walked;
    const done = mapped + (this.#total - mapped) * this.#read;
    // Sums of fractions may be a little beside it at the end.
    this.#tell(this.#read === 1 ? this.#total : Math.min(done, this.#total), this.#total);
  }
}
