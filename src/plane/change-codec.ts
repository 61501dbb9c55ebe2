/**
 * Batches of changes as bytes: the columns one after the other, little-endian, behind a description
 * in JSON. Lengths come from the other host and are checked before anything is made of them.
 */
import { CodedError } from "../base/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_RUNS_MAX } from "../store/index.ts";
import type { ChangeBatch, OfferAnswer } from "../store/index.ts";

const FINGERPRINT_BYTES = 32;
const RUN_BYTES = 25;

export interface BatchShape {
  readonly runs: number;
  readonly fingerprints: number;
  readonly nextBlock: number;
  readonly fromJournal: boolean;
}

export function encodeBatch(batch: ChangeBatch): { shape: BatchShape; bytes: Uint8Array } {
  const runs = batch.starts.length;
  const bytes = new Uint8Array(runs * RUN_BYTES + batch.fingerprints.length);
  let at = 0;
  for (const column of [batch.starts, batch.counts, batch.sequences]) {
    bytes.set(new Uint8Array(column.slice().buffer), at);
    at += runs * 8;
  }
  bytes.set(batch.kinds, at);
  bytes.set(batch.fingerprints, at + runs);
  return {
    shape: {
      runs,
      fingerprints: batch.fingerprints.length / FINGERPRINT_BYTES,
      nextBlock: batch.nextBlock,
      fromJournal: batch.fromJournal,
    },
    bytes,
  };
}

/** The batch at the beginning of `bytes`, and what follows it. Fails with `message-invalid`. */
export function decodeBatch(
  said: unknown,
  bytes: Uint8Array,
): { readonly batch: ChangeBatch; readonly rest: Uint8Array } {
  const shape = parseShape(said);
  const length = shape.runs * RUN_BYTES + shape.fingerprints * FINGERPRINT_BYTES;
  if (length > bytes.length) throw invalid("it is shorter than it says");
  const column = (index: number): Float64Array => {
    const start = index * shape.runs * 8;
    return new Float64Array(bytes.slice(start, start + shape.runs * 8).buffer);
  };
  const kindsAt = 3 * shape.runs * 8;
  return {
    batch: {
      starts: column(0),
      counts: column(1),
      sequences: column(2),
      kinds: bytes.slice(kindsAt, kindsAt + shape.runs),
      fingerprints: bytes.slice(kindsAt + shape.runs, length),
      nextBlock: shape.nextBlock,
      fromJournal: shape.fromJournal,
    },
    rest: bytes.subarray(length),
  };
}

function parseShape(said: unknown): BatchShape {
  if (typeof said !== "object" || said === null) throw invalid("it has no description");
  const { runs, fingerprints, nextBlock, fromJournal }: Partial<Record<keyof BatchShape, unknown>> =
    said;
  if (!isCount(runs, CHANGE_RUNS_MAX)) throw invalid("the number of runs is out of range");
  if (!isCount(fingerprints, CHANGE_BLOCKS_MAX))
    throw invalid("the number of fingerprints is out of range");
  if (typeof nextBlock !== "number" || !Number.isSafeInteger(nextBlock))
    throw invalid("it does not say where it ends");
  return { runs, fingerprints, nextBlock, fromJournal: fromJournal === true };
}

/**
 * Two bitmaps, behind how many blocks to offer next. An asker that knows what a kept offer is hears
 * its number as well, where there is one.
 */
export function encodeOfferAnswer(
  { missing, awaited, blocksNext, offer }: OfferAnswer,
  isKeptKnown: boolean,
): { readonly result: unknown; readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(missing.length + awaited.length);
  bytes.set(missing);
  bytes.set(awaited, missing.length);
  return { result: isKeptKnown ? { blocksNext, offer } : blocksNext, bytes };
}

/**
 * `blocks` were offered. What is wanted next fits into one batch, whatever was said. Fails with
 * `message-invalid`.
 */
export function decodeOfferAnswer(said: unknown, bitmaps: Uint8Array, blocks: number): OfferAnswer {
  const shape: { blocksNext?: unknown; offer?: unknown } =
    typeof said === "object" && said !== null ? said : { blocksNext: said };
  const { blocksNext: wanted, offer } = shape;
  if (typeof wanted !== "number" || !(wanted >= 1)) throw invalid("no number of blocks");
  const blocksNext = Math.min(CHANGE_BLOCKS_MAX, Math.floor(wanted));
  const half = Math.ceil(blocks / 8);
  if (bitmaps.length !== 2 * half) throw invalid("not a bit for each block");
  const missing = bitmaps.subarray(0, half);
  const awaited = bitmaps.subarray(half);
  if (!isCount(offer, Number.MAX_SAFE_INTEGER)) return { missing, awaited, blocksNext };
  return { missing, awaited, blocksNext, offer };
}

function isCount(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max;
}

export function invalid(why: string): CodedError {
  return new CodedError({ code: "message-invalid", message: `a message is invalid: ${why}` });
}
