/**
 * The bytes of requests that begin or end inside a block: which part of a payload or of a scratch
 * block goes where. Arithmetic and copying only.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { IoRequest } from "./io-request.ts";
import type { PayloadPool } from "./payload-pool.ts";
import { PAYLOAD_BYTES_MAX } from "./payload-pool.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";

/** Copies the caller's payload from the request's cursor to its end into chunks. */
export function copyPayload(request: IoRequest, pool: PayloadPool): void {
  const source = assertDefined(request.source, "no payload to copy");
  const start = request.firstBlock * BLOCK_SIZE_BYTES;
  const end = request.endBlock * BLOCK_SIZE_BYTES - start;
  const dataStart = request.headSkip;
  const dataEnd = dataStart + request.lengthBytes;
  const cursor = (request.cursor - request.firstBlock) * BLOCK_SIZE_BYTES;
  for (let index = Math.floor(cursor / PAYLOAD_BYTES_MAX); ; index++) {
    const chunkStart = index * PAYLOAD_BYTES_MAX;
    if (chunkStart >= end) return;
    const chunkEnd = Math.min(chunkStart + PAYLOAD_BYTES_MAX, end);
    const chunk = pool.take(chunkEnd - chunkStart);
    const from = Math.max(chunkStart, dataStart);
    const sourceFrom = request.sourceAt + from - dataStart;
    const sourceEnd = request.sourceAt + Math.min(chunkEnd, dataEnd) - dataStart;
    chunk.set(source.subarray(sourceFrom, sourceEnd), from - chunkStart);
    request.chunks[index] = chunk;
  }
}

export function dropPayload(request: IoRequest, pool: PayloadPool): void {
  for (const chunk of request.chunks) if (chunk !== undefined) pool.give(chunk);
  if (request.chunks.length > 0) request.chunks.length = 0;
}

/** Completes the first and the last block of a write with what they held before. */
export function mergeEdges(request: IoRequest, scratch: ScratchBlocks): void {
  const blocks = request.endBlock - request.firstBlock;
  if (request.hasHead) {
    const chunk = assertDefined(request.chunks[0], "the payload was not copied");
    const old = scratchBytes(scratch, request.headScratch);
    chunk.set(old.subarray(0, request.headSkip));
    if (blocks === 1) {
      const from = BLOCK_SIZE_BYTES - request.tailSkip;
      chunk.set(old.subarray(from), from);
    }
  }
  if (!request.hasTail) return;
  const last = (blocks - 1) * BLOCK_SIZE_BYTES;
  const chunk = assertDefined(
    request.chunks[Math.floor(last / PAYLOAD_BYTES_MAX)],
    "the payload was not copied",
  );
  const from = BLOCK_SIZE_BYTES - request.tailSkip;
  const old = scratchBytes(scratch, request.tailScratch);
  chunk.set(old.subarray(from), (last % PAYLOAD_BYTES_MAX) + from);
}

/** Makes the payload of what a block holds. */
export function keepBlock(request: IoRequest, pool: PayloadPool, scratch: ScratchBlocks): void {
  const chunk = pool.take(BLOCK_SIZE_BYTES);
  chunk.set(scratchBytes(scratch, request.headScratch));
  request.chunks[0] = chunk;
}

/** Zeroes the request's part of its first and last block in scratch memory. */
export function zeroEdges(request: IoRequest, scratch: ScratchBlocks): void {
  const isOneBlock = request.endBlock - request.firstBlock === 1;
  const tailFrom = BLOCK_SIZE_BYTES - request.tailSkip;
  if (request.hasHead) {
    const end = isOneBlock ? tailFrom : BLOCK_SIZE_BYTES;
    scratchBytes(scratch, request.headScratch).fill(0, request.headSkip, end);
  }
  if (request.hasTail) scratchBytes(scratch, request.tailScratch).fill(0, 0, tailFrom);
}

/**
 * Moves the whole blocks, which were read to the start of the target, and adds the parts around
 * them.
 */
export function completeRead(request: IoRequest, scratch: ScratchBlocks): void {
  const target = assertDefined(request.target, "no target").bytes;
  const { targetAt, lengthBytes } = request;
  const isOneBlock = request.endBlock - request.firstBlock === 1;
  const tailFrom = BLOCK_SIZE_BYTES - request.tailSkip;
  if (request.hasHead) {
    const end = isOneBlock ? tailFrom : BLOCK_SIZE_BYTES;
    const headBytes = end - request.headSkip;
    const bodyBytes = lengthBytes - headBytes - (request.hasTail ? tailFrom : 0);
    if (bodyBytes > 0) target.copyWithin(targetAt + headBytes, targetAt, targetAt + bodyBytes);
    target.set(
      scratchBytes(scratch, request.headScratch).subarray(request.headSkip, end),
      targetAt,
    );
  }
  if (!request.hasTail) return;
  const old = scratchBytes(scratch, request.tailScratch);
  target.set(old.subarray(0, tailFrom), targetAt + lengthBytes - tailFrom);
}

export function takeScratch(request: IoRequest, scratch: ScratchBlocks): void {
  if (request.hasHead && request.headScratch < 0) request.headScratch = scratch.take();
  if (request.hasTail && request.tailScratch < 0) request.tailScratch = scratch.take();
}

export function dropScratch(request: IoRequest, scratch: ScratchBlocks): void {
  if (request.headScratch >= 0) scratch.give(request.headScratch);
  if (request.tailScratch >= 0) scratch.give(request.tailScratch);
  request.headScratch = -1;
  request.tailScratch = -1;
}

function scratchBytes(scratch: ScratchBlocks, index: number): Uint8Array {
  assert(index >= 0, "no scratch block");
  const at = scratch.offsetOf(index);
  return scratch.memoryOf(index).bytes.subarray(at, at + BLOCK_SIZE_BYTES);
}
