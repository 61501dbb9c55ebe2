/**
 * A write load that knows what was acknowledged: several connections, many requests in flight,
 * sizes from one sector to 256 KiB, zeroes and trims among them. It runs until it is told to stop
 * or the server dies.
 */
import type { Prng } from "../../src/base/index.ts";
import { NbdClient, NbdConnectionLost } from "./nbd-client.ts";
import type { NbdAddress } from "./nbd-client.ts";
import { BLOCK, SECTOR } from "./write-ledger.ts";
import type { Change, WriteLedger } from "./write-ledger.ts";

const SIZES = [SECTOR, 2048, BLOCK, BLOCK, BLOCK, 3 * BLOCK, 64 << 10, 256 << 10] as const;
const READ_CHUNK = 1 << 20;

export interface LoadOptions {
  readonly connections: number;
  /** Requests in flight on each connection. */
  readonly depth: number;
}

export class VerifiedLoad {
  readonly #address: NbdAddress;
  readonly #ledger: WriteLedger;
  readonly #prng: Prng;
  #acknowledged = 0;
  #isStopping = false;
  #wanted: { count: number; reached: () => void } | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #clients: NbdClient[] = [];

  constructor(address: NbdAddress, ledger: WriteLedger, prng: Prng) {
    this.#address = address;
    this.#ledger = ledger;
    this.#prng = prng;
  }

  /** Connects and begins to write. */
  async start(options: LoadOptions): Promise<void> {
    this.#isStopping = false;
    this.#acknowledged = 0;
    this.#clients = [];
    for (let index = 0; index < options.connections; index++) {
      this.#clients.push(await NbdClient.connect(this.#address));
    }
    const lanes = this.#clients.flatMap((client) =>
      Array.from({ length: options.depth }, () => this.#lane(client)),
    );
    this.#running = Promise.all(lanes);
    this.#running.catch(() => this.#wanted?.reached()); // `finish` throws it.
  }

  /**
   * Resolves when `count` requests have been acknowledged since the start, or a lane has failed.
   */
  acknowledged(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = { count, reached: resolve };
      if (this.#acknowledged >= count) resolve();
    });
  }

  /** Resolves when no lane runs any more; rejects as `finish`. */
  get ended(): Promise<void> {
    return this.#running.then(() => undefined);
  }

  /**
   * Waits until no request can be answered any more: after `stop` all were, after the server's
   * death the connections are gone. Throws what a lane met that was neither.
   */
  async finish(isStop = true): Promise<number> {
    if (isStop) this.#isStopping = true;
    await this.#running;
    for (const client of this.#clients) await client.close();
    return this.#acknowledged;
  }

  async #lane(client: NbdClient): Promise<void> {
    while (!this.#isStopping) {
      const change = this.#choose();
      this.#ledger.begin(change);
      try {
        await this.#send(client, change);
      } catch (error) {
        if (error instanceof NbdConnectionLost) return; // The change stays in flight for ever.
        throw error;
      }
      this.#ledger.acknowledge(change);
      this.#acknowledged++;
      if (this.#acknowledged === this.#wanted?.count) this.#wanted.reached();
    }
  }

  #choose(): Change {
    const prng = this.#prng;
    for (;;) {
      const length = prng.pick(SIZES);
      const alignment = length % BLOCK === 0 && prng.chance(0.8) ? BLOCK : SECTOR;
      const places = Math.floor((this.#ledger.sizeBytes - length) / alignment) + 1;
      const offset = prng.below(places) * alignment;
      if (!this.#ledger.isFree(offset, length)) continue;
      const content = prng.chance(0.15) ? 0 : this.#ledger.newContent(prng);
      return { offset, length, content };
    }
  }

  async #send(client: NbdClient, change: Change): Promise<void> {
    const { offset, length } = change;
    if (change.content !== 0) {
      await client.write(offset, this.#ledger.dataOf(change), this.#prng.chance(0.2));
      return;
    }
    const isWhole = offset % BLOCK === 0 && length % BLOCK === 0;
    if (isWhole && this.#prng.chance(0.5)) await client.trim(offset, length);
    else await client.writeZeroes(offset, length);
  }
}

/** Reads the whole of the ledger's range and returns what is wrong with it. */
export async function verifyVolume(address: NbdAddress, ledger: WriteLedger): Promise<string[]> {
  const client = await NbdClient.connect(address);
  const wrong: string[] = [];
  for (let offset = 0; offset < ledger.sizeBytes; offset += READ_CHUNK) {
    const length = Math.min(READ_CHUNK, ledger.sizeBytes - offset);
    wrong.push(...ledger.verify(offset, await client.read(offset, length)));
  }
  await client.close();
  return wrong.slice(0, 20);
}
