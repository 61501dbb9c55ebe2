/**
 * The thread that fingerprints. It reads blocks at their addresses: nothing is copied to it, and
 * each answer is one transferred array.
 */
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import { parentPort } from "node:worker_threads";
import type { DigestAnswer, DigestRequest } from "./native-digests.ts";
import { sha256At } from "./sys.ts";
import { BLOCK_SIZE_BYTES, assertDefined } from "../base/index.ts";
import { MappedMemory } from "./memory/mapped-memory.ts";

const port = assertDefined(parentPort ?? undefined, "this file runs in a worker");
let digests = new MappedMemory(1024 * FINGERPRINT_BYTES);

port.on("message", (request: DigestRequest) => {
  const { offsets } = request;
  const lengthBytes = offsets.length * FINGERPRINT_BYTES;
  if (digests.bytes.length < lengthBytes) {
    digests.release();
    digests = new MappedMemory(lengthBytes);
  }
  const target = digests.handle.address;
  for (let i = 0; i < offsets.length; i++) {
    sha256At(request.address + offsets[i]!, BLOCK_SIZE_BYTES, target + i * FINGERPRINT_BYTES);
  }
  const answer: DigestAnswer = { id: request.id, digests: digests.bytes.slice(0, lengthBytes) };
  port.postMessage(answer, [answer.digests.buffer]);
});
