/**
 * Contents on their way home, by fingerprint: what was offered, is missing, and has come into the
 * journal, but is not in the content map yet. Whoever is offered the same meanwhile takes it from
 * there. Bounded, and only ever a shortcut: what is forgotten is sent again.
 */
import { getU48 } from "../base/index.ts";
import { blockKey } from "./block-table.ts";

const ENTRIES_MAX = 65_536;

export interface ArrivedBlock {
  readonly component: number;
  readonly blockIndex: number;
  readonly sequence: number;
}

export class ArrivingContents {
  /** By block: what it will hold. */
  readonly #expected = new Map<number, { readonly sequence: number; readonly content: number }>();
  readonly #arrived = new Map<number, ArrivedBlock>();
  /** By content: the block that it is sent for, and who waits for it. */
  readonly #sent = new Map<number, { readonly key: number; readonly waiting: (() => void)[] }>();

  /** How many have come so far. */
  arrivals = 0;

  expect(block: ArrivedBlock, fingerprints: Uint8Array, at: number): void {
    const { component, blockIndex, sequence } = block;
    const content = contentAt(fingerprints, at);
    const key = blockKey(component, blockIndex);
    keep(this.#expected, key, { sequence, content });
    if (!this.#sent.has(content)) keep(this.#sent, content, { key, waiting: [] });
  }

  /** Whether the content is being sent for another block. */
  isAwaited(block: Omit<ArrivedBlock, "sequence">, fingerprints: Uint8Array, at: number): boolean {
    const sent = this.#sent.get(contentAt(fingerprints, at));
    return sent !== undefined && sent.key !== blockKey(block.component, block.blockIndex);
  }

  /** Resolves when it has come. Undefined if nobody sends it. */
  come(fingerprints: Uint8Array, at: number): Promise<void> | undefined {
    const sent = this.#sent.get(contentAt(fingerprints, at));
    if (sent === undefined) return undefined;
    return new Promise((resolve) => void sent.waiting.push(resolve));
  }

  /** Whoever was to send it may be gone: somebody else does. */
  giveUp(fingerprints: Uint8Array, at: number): void {
    this.#settle(contentAt(fingerprints, at));
  }

  #settle(content: number): void {
    const sent = this.#sent.get(content);
    this.#sent.delete(content);
    for (const resolve of sent?.waiting ?? []) resolve();
  }

  /** Blocks of one version are in the journal. */
  arrive(component: number, firstBlock: number, blockCount: number, sequence: number): void {
    if (this.#expected.size === 0) return;
    for (let blockIndex = firstBlock; blockIndex < firstBlock + blockCount; blockIndex++) {
      const key = blockKey(component, blockIndex);
      const expected = this.#expected.get(key);
      if (expected?.sequence !== sequence) continue;
      this.#expected.delete(key);
      keep(this.#arrived, expected.content, { component, blockIndex, sequence });
      this.#settle(expected.content);
      this.arrivals++;
    }
  }

  /**
   * A block that had this content when it came: the caller checks that the journal has it still.
   */
  find(fingerprints: Uint8Array, at: number): ArrivedBlock | undefined {
    if (this.#arrived.size === 0) return undefined;
    return this.#arrived.get(contentAt(fingerprints, at));
  }
}

/** Its first bytes. Others may begin alike: what is found is compared by whoever uses it. */
function contentAt(fingerprints: Uint8Array, at: number): number {
  return getU48(fingerprints, at);
}

/** The oldest goes when there is no room. */
function keep<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  if (map.size >= ENTRIES_MAX)
    for (const oldest of map.keys()) {
      map.delete(oldest);
      break;
    }
  map.set(key, value);
}
