/**
 * A load that checks what it reads and times what it waits: lanes that each write a block of their
 * own, read it back, pause for a moment. Any error and any wrong byte fails it.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { NbdClient } from "./nbd-client.ts";
import type { NbdAddress } from "./nbd-client.ts";

const BLOCK = 4096;
const BLOCKS_PER_LANE = 512;
const PAUSE_MS = 10;

export class PacedLoad {
  readonly #client: NbdClient;
  readonly #lanes: Lane[];
  readonly #running: Promise<unknown>;
  #isStopping = false;
  #writeCount = 0;
  #wanted: { readonly count: number; readonly resolve: () => void } | undefined;

  private constructor(client: NbdClient, lanes: number) {
    this.#client = client;
    this.#lanes = Array.from({ length: lanes }, (_, index) => new Lane(index));
    this.#running = Promise.all(this.#lanes.map((lane) => this.#run(lane)));
    this.#running.catch(() => undefined); // `stop` throws it.
  }

  static async start(address: NbdAddress, lanes: number): Promise<PacedLoad> {
    return new PacedLoad(await NbdClient.connect(address), lanes);
  }

  /** The longest that anybody has waited for one answer since the last call, in milliseconds. */
  takeStallMs(): number {
    const nowMs = performance.now();
    return Math.max(...this.#lanes.map((lane) => lane.takeStallMs(nowMs)));
  }

  /** The longest that anybody has waited so far for an answer that has not come. */
  waitingMs(): number {
    const nowMs = performance.now();
    return Math.max(...this.#lanes.map((lane) => lane.waitingMs(nowMs)));
  }

  /** Waits until so many more writes were acknowledged. Throws what a lane met. */
  async progress(writes: number): Promise<void> {
    const wanted = this.#writeCount + writes;
    const reached = new Promise<void>((resolve) => {
      this.#wanted = { count: wanted, resolve };
    });
    await Promise.race([reached, this.#running]);
  }

  /** Throws what a lane met. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
    await this.#client.close();
  }

  /** Everything that was written, over a connection of its own. */
  async verify(address: NbdAddress): Promise<void> {
    const client = await NbdClient.connect(address);
    for (const lane of this.#lanes)
      for (const [block, value] of lane.written) await check(client, block, value);
    await client.close();
  }

  async #run(lane: Lane): Promise<void> {
    while (!this.#isStopping) {
      const [block, value] = lane.next();
      await lane.timed(this.#client.write(block * BLOCK, content(block, value)));
      lane.written.set(block, value);
      if (++this.#writeCount === this.#wanted?.count) this.#wanted.resolve();
      await lane.timed(check(this.#client, block, value));
      const older = lane.older();
      const known = lane.written.get(older);
      if (known !== undefined) await lane.timed(check(this.#client, older, known));
      await sleep(PAUSE_MS);
    }
  }
}

class Lane {
  readonly written = new Map<number, number>();
  readonly #first: number;
  #count = 0;
  #sinceMs: number | undefined;
  #longestMs = 0;

  constructor(index: number) {
    this.#first = index * BLOCKS_PER_LANE;
  }

  next(): readonly [number, number] {
    const value = ++this.#count;
    return [this.#first + ((value * 7) % BLOCKS_PER_LANE), value];
  }

  older(): number {
    return this.#first + ((this.#count * 3) % BLOCKS_PER_LANE);
  }

  async timed(work: Promise<void>): Promise<void> {
    this.#sinceMs = performance.now();
    await work;
    this.#longestMs = Math.max(this.#longestMs, performance.now() - this.#sinceMs);
    this.#sinceMs = undefined;
  }

  waitingMs(nowMs: number): number {
    return nowMs - (this.#sinceMs ?? nowMs);
  }

  takeStallMs(nowMs: number): number {
    const longest = Math.max(this.#longestMs, this.waitingMs(nowMs));
    this.#longestMs = 0;
    return longest;
  }
}

async function check(client: NbdClient, block: number, value: number): Promise<void> {
  const found = await client.read(block * BLOCK, BLOCK);
  const wanted = content(block, value);
  assert.ok(found.equals(wanted), `block ${block} is not what write ${value} left there`);
}

function content(block: number, value: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  for (let at = 0; at < BLOCK; at += 8) {
    bytes.writeUInt32LE(block + at, at);
    bytes.writeUInt32LE(value, at + 4);
  }
  return bytes;
}
