/** Random load on a volume, and what may be read afterwards. */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES } from "../../src/base/index.ts";
import type { Prng } from "../../src/base/index.ts";
import { BlockHistory } from "./block-history.ts";
import { randomBytes, randomRange, type Requests } from "./volume-bench.ts";

const PARALLEL = 8;
const CHUNK_BYTES = 16 * BLOCK_SIZE_BYTES;

export class VolumeClient {
  readonly history: BlockHistory;
  requests: Requests;
  readonly #prng: Prng;
  readonly #sizeBytes: number;

  constructor(prng: Prng, sizeBytes: number, requests: Requests) {
    this.#prng = prng;
    this.#sizeBytes = sizeBytes;
    this.history = new BlockHistory(sizeBytes);
    this.requests = requests;
  }

  /** Changes, several at a time; every answer must be good. */
  async work(count: number): Promise<void> {
    const running = new Set<Promise<void>>();
    for (let i = 0; i < count; i++) {
      const { offset, lengthBytes } = randomRange(this.#prng, this.#sizeBytes);
      const isWrite = this.#prng.chance(0.8);
      const bytes = isWrite ? randomBytes(this.#prng, lengthBytes) : new Uint8Array(lengthBytes);
      const change = this.history.change(offset, bytes);
      const answer = isWrite
        ? this.requests.write(bytes, offset)
        : this.requests.zero(offset, lengthBytes, this.#prng.chance(0.5));
      const one = answer.then((fault) => {
        assert.equal(fault, undefined);
        this.history.acknowledge(change);
        running.delete(one);
      });
      running.add(one);
      while (running.size >= PARALLEL) await Promise.race(running);
    }
    await Promise.all(running);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const change = this.history.change(offset, bytes);
    assert.equal(await this.requests.write(bytes, offset), undefined);
    this.history.acknowledge(change);
  }

  async zero(offset: number, lengthBytes: number): Promise<void> {
    const change = this.history.change(offset, new Uint8Array(lengthBytes));
    assert.equal(await this.requests.zero(offset, lengthBytes, false), undefined);
    this.history.acknowledge(change);
  }

  async verify(what: string): Promise<void> {
    for (let offset = 0; offset < this.#sizeBytes; offset += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, this.#sizeBytes - offset);
      const { fault, bytes } = await this.requests.read(offset, length);
      assert.equal(fault, undefined, what);
      for (let at = 0; at < length; at += BLOCK_SIZE_BYTES) {
        const block = (offset + at) / BLOCK_SIZE_BYTES;
        const found = bytes.subarray(at, at + this.history.lengthOf(block));
        assert.ok(this.history.settle(block, found), `block ${block}: ${what}`);
      }
    }
  }
}
