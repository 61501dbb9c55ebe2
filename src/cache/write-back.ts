/**
 * Writes the dirty slots of a page cache back, in batches, outside every search for a victim.
 *
 * A batch whose flush throws stays dirty; the others go on; what was thrown surfaces at the end,
 * as the cause of one error. Slots that become dirty meanwhile are left to the next run, so a run
 * ends.
 */
import { assert, CodedError, errorText } from "../base/index.ts";

/** A page cache, private or shared. */
export interface WriteBackSource {
  readonly dirtyCount: number;
  beginFlush(slots: Uint32Array): number;
  endFlush(slot: number, succeeded: boolean): void;
}

/** Returns once the contents of these slots are durable. The array is reused after that. */
export type FlushBatch = (slots: Uint32Array) => Promise<void>;

/** Returns how many slots were flushed. Fails with `cache-flush-failed`. */
export async function writeBack(
  cache: WriteBackSource,
  batchSlotsMax: number,
  flush: FlushBatch,
): Promise<number> {
  assert(batchSlotsMax >= 1, "a batch holds at least one slot");
  const batch = new Uint32Array(batchSlotsMax);
  let left = cache.dirtyCount;
  let flushedCount = 0;
  let failedCount = 0;
  let firstError: unknown;
  const failed: number[] = [];
  while (left > 0) {
    const count = cache.beginFlush(batch.subarray(0, Math.min(left, batchSlotsMax)));
    if (count === 0) break;
    left -= count;
    const slots = batch.subarray(0, count);
    try {
      await flush(slots);
      for (const slot of slots) cache.endFlush(slot, true);
      flushedCount += count;
    } catch (error) {
      firstError = failedCount === 0 ? error : firstError;
      failedCount += count;
      // Held until the end: dirty again at once, they would be the first of the next batch.
      failed.push(...slots);
    }
  }
  for (const slot of failed) cache.endFlush(slot, false);
  if (failedCount > 0) throw flushFailed(failedCount, flushedCount, firstError);
  return flushedCount;
}

function flushFailed(failedCount: number, flushedCount: number, cause: unknown): CodedError {
  return new CodedError(
    {
      code: "cache-flush-failed",
      message: `${failedCount} pages could not be written back: ${errorText(cause)}`,
      hint: "They stay in memory and are dirty still; write back again once the cause is mended.",
      details: { failedCount, flushedCount },
    },
    { cause },
  );
}
