/**
 * Scrub: is everything that the maps say true?
 *
 * - Each region's digest and mapped-block count follow from the logical entries
 *   (`scrub-digests.ts`).
 * - Each content's reference count equals the number of logical entries that point to it, and the
 *   space map calls exactly the blocks in use that some content uses (`scrub-counts.ts`).
 * - Each stored block has the SHA-256 that its content entry says.
 *
 * Others go on changing the maps: they wait for a part of it at a time, never for the whole. What
 * is found is reported, and nothing is changed.
 */
import { BLOCK_SIZE_BYTES, equalBytes } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { CONTENT_ID_BYTES, keyAfterPrefix, TABLE_CONTENT } from "../format/index.ts";
import { decodeContent } from "./content-references.ts";
import type { StoredContent } from "./content-references.ts";
import { CountScrub, RANGE_BLOCKS_MAX } from "./scrub-counts.ts";
import { DigestScrub } from "./scrub-digests.ts";
import { ScrubProgress } from "./scrub-progress.ts";
import { isClean, newFindings } from "./scrub-report.ts";
import type { ScrubFindings, ScrubReport } from "./scrub-report.ts";
import { ScrubWalk } from "./scrub-walk.ts";
import type { ScrubHost } from "./scrub-walk.ts";

const VALUES_AT_ONCE = 512;
const READ_BLOCKS = 256;
export const SCRUB_MEMORY_BYTES: number = READ_BLOCKS * BLOCK_SIZE_BYTES;

export interface ScrubOptions {
  /** Read every block and compare its fingerprint. Default true. */
  readonly readBlocks?: boolean;
  /** Physical blocks whose references are counted in one walk over the maps. Default: 16 Mi. */
  readonly rangeBlocks?: number;
  /** Values of the maps that are looked at in one turn, before others get theirs. Default 512. */
  readonly valuesAtOnce?: number;
  /** Work that is done, and all of it: the unit is what reading a block takes. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * `memory` is read into between two changes of the maps only: scrubs may have it in common. Fails
 * with `unreachable` when the device is closed meanwhile.
 */
export async function scrubDevice(
  host: ScrubHost,
  options: ScrubOptions,
  memory: () => DiskMemory,
): Promise<ScrubReport> {
  const { state } = host;
  const findings = newFindings();
  const rangeBlocks = options.rangeBlocks ?? RANGE_BLOCKS_MAX;
  const readsBlocks = options.readBlocks ?? true;
  const progress = new ScrubProgress(state, {
    walks: 1 + Math.ceil(state.superblock.blockCount / rangeBlocks),
    readsBlocks,
    tell: options.onProgress ?? (() => {}),
  });
  const walk = new ScrubWalk(host, {
    valuesAtOnce: options.valuesAtOnce ?? VALUES_AT_ONCE,
    onTurn: () => progress.tell(),
  });
  const onPage = (component: number, page: number): void => progress.page(component, page);
  await new DigestScrub(walk, findings, onPage).run();
  progress.walkDone();
  const onRange = (): void => progress.walkDone();
  await new CountScrub(walk, findings, { rangeBlocks, onPage, onRange }).run();
  if (readsBlocks) await new BlockScrub(walk, findings, progress).run(memory());
  progress.blocksRead(1);
  const report: ScrubReport = findings;
  state.emit({
    kind: "scrub-finished",
    level: isClean(report) ? "info" : "error",
    message: isClean(report) ? "scrub found nothing wrong" : "scrub found damage",
    details: { deviceId: state.superblock.deviceId, ...report },
  });
  return report;
}

type StoredBatch = { readonly id: Uint8Array; readonly stored: StoredContent }[];

/**
 * Reads every stored block and compares its fingerprint. Blocks stay what they are for one batch at
 * a time: whoever else changes the maps, a new owner among them, waits for no more than that.
 */
class BlockScrub {
  readonly #walk: ScrubWalk;
  readonly #findings: ScrubFindings;
  readonly #progress: ScrubProgress;

  constructor(walk: ScrubWalk, findings: ScrubFindings, progress: ScrubProgress) {
    this.#walk = walk;
    this.#findings = findings;
    this.#progress = progress;
  }

  async run(memory: DiskMemory): Promise<void> {
    let from: Uint8Array = Uint8Array.of(TABLE_CONTENT);
    const end = keyAfterPrefix(from);
    let done = 0;
    for (;;) {
      let next: Uint8Array | undefined;
      await this.#walk.alone(async () => {
        const batch: StoredBatch = [];
        next = this.#loadBatch(from, end, batch);
        await this.#checkBatch(memory, batch);
        done += batch.length;
      });
      if (next === undefined) return;
      this.#progress.blocksRead(done / Math.max(1, done, this.#findings.contents));
      from = next;
    }
  }

  /** Returns where to go on. */
  #loadBatch(from: Uint8Array, end: Uint8Array, batch: StoredBatch): Uint8Array | undefined {
    let next: Uint8Array | undefined;
    this.#walk.state.metadata.scan(from, end, (key, value) => {
      if (batch.length >= READ_BLOCKS) {
        next = key.slice();
        return false;
      }
      const stored = decodeContent(key, value);
      if (stored !== undefined) batch.push({ id: key.slice(1), stored });
      return true;
    });
    return next;
  }

  async #checkBatch(memory: DiskMemory, batch: Readonly<StoredBatch>): Promise<void> {
    const { requests, superblock, digests } = this.#walk.state;
    const unreadable = new Set<number>();
    await Promise.all(
      batch.map(async ({ stored }, i) => {
        const offset = superblock.blocksOffset + stored.physical * BLOCK_SIZE_BYTES;
        try {
          await requests.read(memory, i * BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES, offset);
        } catch {
          unreadable.add(i);
        }
      }),
    );
    const offsets = Float64Array.from(batch, (_, i) => i * BLOCK_SIZE_BYTES);
    const fingerprints = new Uint8Array(batch.length * FINGERPRINT_BYTES);
    await digests.fingerprint(memory, offsets, batch.length, fingerprints);
    for (const [i, { id, stored }] of batch.entries()) {
      const at = i * FINGERPRINT_BYTES;
      const tail = fingerprints.subarray(at + CONTENT_ID_BYTES, at + FINGERPRINT_BYTES);
      // The last byte of an id may have been moved on by a collision.
      const sameHead = equalBytes(
        fingerprints.subarray(at, at + CONTENT_ID_BYTES - 1),
        id.subarray(0, -1),
      );
      if (!unreadable.has(i) && sameHead && equalBytes(tail, stored.fingerprintTail)) continue;
      this.#findings.damagedBlocks++;
      this.#walk.state.blockDamaged({
        component: 0,
        blockIndex: 0,
        physical: stored.physical,
        reason: unreadable.has(i) ? "scrub could not read it" : "scrub found another fingerprint",
      });
    }
  }
}
