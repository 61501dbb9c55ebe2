/**
 * What another host answers about one of its components, checked before it is used: loops run over
 * these numbers, and memory is allocated for them. All of it fails with `message-invalid`.
 */
import { BLOCK_SIZE_BYTES, VOLUME_SIZE_BYTES_MAX } from "../base/index.ts";
import { REGION_DIGEST_BYTES } from "../format/index.ts";
import { changeBatchInvalid } from "../store/index.ts";
import type { ChangeBatch, ChangesRequest, ComponentOpening } from "../store/index.ts";
import { decodeBatch, invalid } from "./change-codec.ts";

/**
 * Messages have 48 bits for each: who starts from half of that never gets to the end by counting.
 */
const COUNTED_MAX = 2 ** 47;
const HANDLE_MAX = 2 ** 32 - 1;
/** A column of stripes may be rounded up. */
const BLOCK_COUNT_MAX = (2 * VOLUME_SIZE_BYTES_MAX) / BLOCK_SIZE_BYTES;

export interface OpeningAnswer {
  readonly opening: ComponentOpening;
  readonly handle: number;
  readonly blockCount: number;
}

export function openingOf(result: unknown): OpeningAnswer {
  if (typeof result !== "object" || result === null) throw invalid("an answer is no object");
  const said: Partial<Record<string, unknown>> = result;
  const number = (name: string, max: number): number => {
    const value = said[name];
    if (isNumber(value, max)) return value;
    throw invalid(`the answer to open has no ${name} that can be`);
  };
  return {
    handle: number("handle", HANDLE_MAX),
    blockCount: number("blockCount", BLOCK_COUNT_MAX),
    opening: {
      epoch: number("epoch", COUNTED_MAX),
      isComplete: said["isComplete"] === true,
      committedSequence: number("committedSequence", COUNTED_MAX),
      preparedSequence: number("preparedSequence", COUNTED_MAX),
    },
  };
}

/** The batch lies within what was asked for, and the next one begins behind its beginning. */
export function changesOf(
  result: unknown,
  payload: Uint8Array,
  { fromBlock, toBlock, withFingerprints }: ChangesRequest,
): ChangeBatch {
  const { batch } = decodeBatch(result, payload);
  const why = changeBatchInvalid(batch, toBlock);
  if (why !== undefined) throw invalid(why);
  if ((batch.starts[0] ?? fromBlock) < fromBlock) throw invalid("a run begins before the range");
  if (batch.sequences.some((sequence) => !isNumber(sequence, COUNTED_MAX)))
    throw invalid("a run has a sequence that cannot be");
  const isNext = batch.nextBlock > fromBlock && batch.nextBlock < toBlock;
  if (batch.nextBlock !== -1 && !isNext) throw invalid("it does not go on within the range");
  if (!withFingerprints && batch.fingerprints.length > 0)
    throw invalid("nobody asked for fingerprints");
  return { ...batch, wireBytes: payload.length };
}

export function completeSequenceOf(result: unknown, since: number): number {
  if (!isNumber(result, since)) throw invalid("the answer is no sequence up to the one asked for");
  return result;
}

export function digestsOf(payload: Uint8Array, regionCount: number): Uint8Array {
  if (payload.length === regionCount * REGION_DIGEST_BYTES) return payload;
  throw invalid(`${payload.length} bytes of digests for ${regionCount} regions`);
}

function isNumber(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max;
}
