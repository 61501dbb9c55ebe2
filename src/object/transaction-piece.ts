/** Cuts requests into transactions: what of a request goes out next, and where its payload is. */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { Transaction } from "../store/index.ts";
import type { IoRequest } from "./io-request.ts";
import { PAYLOAD_BYTES_MAX } from "./payload-pool.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";

/** The most data in one transaction; copies of payloads are cut at the same places. */
const CHUNK_BLOCKS = 256;
/** The longest range that one transaction zeroes or discards: 256 MiB. */
const ZERO_BLOCKS_MAX = 65_536;

assert(CHUNK_BLOCKS * BLOCK_SIZE_BYTES === PAYLOAD_BYTES_MAX, "a chunk fits into a payload buffer");

/**
 * Sets kind, count and payload of the piece at the request's cursor. `runBlocks` is how far one
 * component goes.
 */
export function cutPiece(
  request: IoRequest,
  piece: Transaction,
  scratch: ScratchBlocks,
  runBlocks: number,
): void {
  const block = request.cursor;
  const rest = request.endBlock - block;
  if (request.kind === "data") {
    const at = block - request.firstBlock;
    const inChunk = at % CHUNK_BLOCKS;
    const chunk = request.chunks[(at - inChunk) / CHUNK_BLOCKS];
    piece.kind = "data";
    piece.blockCount = Math.min(rest, CHUNK_BLOCKS - inChunk);
    if (chunk === undefined) {
      piece.source = assertDefined(request.source, "the payload was not copied");
      piece.sourceAt = request.sourceAt + at * BLOCK_SIZE_BYTES;
    } else {
      piece.source = chunk;
      piece.sourceAt = inChunk * BLOCK_SIZE_BYTES;
    }
  } else if (block === request.firstBlock && request.hasHead) {
    cutEdge(piece, scratch, request.headScratch);
  } else if (rest === 1 && request.hasTail) {
    cutEdge(piece, scratch, request.tailScratch);
  } else {
    assert(request.kind === "zero" || request.kind === "discard", "only changes are sent");
    piece.kind = request.kind;
    piece.blockCount = Math.min(rest - (request.hasTail ? 1 : 0), ZERO_BLOCKS_MAX);
  }
  piece.blockCount = Math.min(piece.blockCount, runBlocks);
}

/** A block of which a part was zeroed in scratch memory. */
function cutEdge(piece: Transaction, scratch: ScratchBlocks, scratchIndex: number): void {
  piece.kind = "data";
  piece.blockCount = 1;
  piece.source = scratch.memoryOf(scratchIndex).bytes;
  piece.sourceAt = scratch.offsetOf(scratchIndex);
}
