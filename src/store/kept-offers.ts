/**
 * Offers whose contents are partly on their way here for other blocks. Whoever offers those a
 * second time need not say again which they are: fingerprints are most of what a copy costs that is
 * here already. What is kept is the offer itself, with whole fingerprints; nothing is promised by
 * it. Bounded, and only ever a shortcut: what is forgotten is offered in full.
 */
import { dataBlocksOf } from "./change-batch.ts";
import type { ChangeBatch } from "./component.ts";

/** In all, with 32 bytes of fingerprint each. */
const BLOCKS_MAX = 65_536;
/** Numbers of one start of the device. No other start's number is taken for one of them. */
const NUMBERS_PER_START = 2 ** 32;
const STARTS = 2 ** 20;

interface KeptOffer {
  readonly component: number;
  readonly epoch: number;
  readonly batch: ChangeBatch;
}

export class KeptOffers {
  readonly #kept = new Map<number, KeptOffer>();
  #blocks = 0;
  #next: number;

  /** `incarnation` is the device's. */
  constructor(incarnation: number) {
    this.#next = (incarnation % STARTS) * NUMBERS_PER_START;
  }

  /** Returns what it is called from now on. */
  keep(component: number, epoch: number, batch: ChangeBatch): number {
    const number = this.#next++;
    this.#kept.set(number, { component, epoch, batch });
    this.#blocks += dataBlocksOf(batch);
    for (const oldest of this.#kept.keys()) {
      if (this.#blocks <= BLOCKS_MAX) break;
      this.#forget(oldest);
    }
    return number;
  }

  /** Undefined unless it was this component's of this epoch and has so many blocks. Once. */
  take(number: number, wanted: Omit<KeptOffer, "batch">, blocks: number): ChangeBatch | undefined {
    const kept = this.#kept.get(number);
    if (kept?.component !== wanted.component || kept.epoch !== wanted.epoch) return undefined;
    if (dataBlocksOf(kept.batch) !== blocks) return undefined;
    this.#forget(number);
    return kept.batch;
  }

  /** Nobody asks for what was offered to this component before. */
  forget(component: number): void {
    for (const [number, kept] of this.#kept) if (kept.component === component) this.#forget(number);
  }

  #forget(number: number): void {
    const kept = this.#kept.get(number);
    if (kept === undefined) return;
    this.#kept.delete(number);
    this.#blocks -= dataBlocksOf(kept.batch);
  }
}
