/** Building and walking of change batches: runs in typed arrays that grow as needed. */
import { assert } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, CHANGE_RUNS_MAX } from "./component.ts";
import type { ChangeBatch } from "./component.ts";

export class ChangeBatchBuilder {
  readonly #starts: number[] = [];
  readonly #counts: number[] = [];
  readonly #sequences: number[] = [];
  readonly #kinds: number[] = [];
  #dataBlocks = 0;

  get dataBlocks(): number {
    return this.#dataBlocks;
  }

  get isEmpty(): boolean {
    return this.#starts.length === 0;
  }

  /** Whether one more run certainly fits. */
  hasRoom(blocksMax: number): boolean {
    return this.#dataBlocks < blocksMax && this.#starts.length < CHANGE_RUNS_MAX;
  }

  /** Blocks come in ascending order. */
  add(blockIndex: number, blockCount: number, sequence: number, kind: number): void {
    const last = this.#starts.length - 1;
    if (kind === CHANGE_DATA) this.#dataBlocks += blockCount;
    if (last >= 0) {
      const end = this.#starts[last]! + this.#counts[last]!;
      assert(blockIndex >= end, "changes come in order");
      if (end === blockIndex && this.#kinds[last] === kind && this.#sequences[last] === sequence) {
        this.#counts[last]! += blockCount;
        return;
      }
    }
    this.#starts.push(blockIndex);
    this.#counts.push(blockCount);
    this.#sequences.push(sequence);
    this.#kinds.push(kind);
  }

  finish(
    nextBlock: number,
    fromJournal: boolean,
    fingerprints: Uint8Array = new Uint8Array(0),
  ): ChangeBatch {
    return {
      starts: Float64Array.from(this.#starts),
      counts: Float64Array.from(this.#counts),
      sequences: Float64Array.from(this.#sequences),
      kinds: Uint8Array.from(this.#kinds),
      fingerprints,
      nextBlock,
      fromJournal,
    };
  }
}

/** Data blocks of a batch. */
export function dataBlocksOf(batch: ChangeBatch): number {
  let blocks = 0;
  for (let run = 0; run < batch.starts.length; run++)
    if (batch.kinds[run] === CHANGE_DATA) blocks += batch.counts[run]!;
  return blocks;
}

/** Some data blocks of a batch, with their fingerprints. `indexes` ascend. */
export function pickDataBlocks(batch: ChangeBatch, indexes: readonly number[]): ChangeBatch {
  const builder = new ChangeBatchBuilder();
  let first = 0;
  let next = 0;
  for (let run = 0; run < batch.starts.length && next < indexes.length; run++) {
    if (batch.kinds[run] !== CHANGE_DATA) continue;
    const end = first + batch.counts[run]!;
    for (; next < indexes.length && indexes[next]! < end; next++) {
      const blockIndex = batch.starts[run]! + indexes[next]! - first;
      builder.add(blockIndex, 1, batch.sequences[run]!, CHANGE_DATA);
    }
    first = end;
  }
  assert(next === indexes.length, "the batch has them");
  return builder.finish(-1, true, pickFingerprints(batch.fingerprints, indexes));
}

/** `indexes` ascend. */
export function pickFingerprints(from: Uint8Array, indexes: readonly number[]): Uint8Array {
  if (from.length === indexes.length * FINGERPRINT_BYTES) return from;
  if (from.length === 0) return from;
  const picked = new Uint8Array(indexes.length * FINGERPRINT_BYTES);
  for (let i = 0; i < indexes.length; i++) {
    const at = indexes[i]! * FINGERPRINT_BYTES;
    for (let byte = 0; byte < FINGERPRINT_BYTES; byte++)
      picked[i * FINGERPRINT_BYTES + byte] = from[at + byte]!;
  }
  return picked;
}

/** Returns why a batch from elsewhere cannot be taken by a component of `blockCount` blocks. */
export function changeBatchInvalid(batch: ChangeBatch, blockCount: number): string | undefined {
  const runs = batch.starts.length;
  if (runs > CHANGE_RUNS_MAX) return `${runs} runs`;
  if (batch.counts.length !== runs || batch.sequences.length !== runs) return "uneven columns";
  if (batch.kinds.length !== runs) return "uneven columns";
  let end = 0;
  for (let run = 0; run < runs; run++) {
    const start = batch.starts[run]!;
    const count = batch.counts[run]!;
    if (!Number.isSafeInteger(start) || start < end) return `run ${run} is out of order`;
    if (!Number.isSafeInteger(count) || count < 1) return `run ${run} has ${count} blocks`;
    if (start + count > blockCount) return `run ${run} goes beyond the component`;
    if (!(batch.sequences[run]! > 0)) return `run ${run} has no sequence`;
    if (batch.kinds[run]! > 2) return `run ${run} has the unknown kind ${batch.kinds[run]}`;
    end = start + count;
  }
  const blocks = dataBlocksOf(batch);
  if (blocks > CHANGE_BLOCKS_MAX) return `${blocks} blocks of data`;
  const fingerprintBytes = batch.fingerprints.length;
  if (fingerprintBytes !== 0 && fingerprintBytes !== blocks * FINGERPRINT_BYTES)
    return `${fingerprintBytes} bytes of fingerprints for ${blocks} blocks`;
  return undefined;
}
