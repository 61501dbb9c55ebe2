/**
 * A load for hours: lanes that write, zero and trim by the ledger, read back what is settled and
 * compare each byte, at a pace. The address is one that follows the volume: an error, a wrong byte
 * and a lost connection are findings, unless everything was without power.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { errorText } from "../../src/base/index.ts";
import type { Prng } from "../../src/base/index.ts";
import { NbdClient, NbdConnectionLost } from "../e2e/nbd-client.ts";
import type { NbdAddress } from "../e2e/nbd-client.ts";
import { BLOCK, SECTOR } from "../e2e/write-ledger.ts";
import type { Change, WriteLedger } from "../e2e/write-ledger.ts";

const SIZES = [SECTOR, 2048, BLOCK, BLOCK, BLOCK, BLOCK, 16 << 10, 64 << 10, 256 << 10] as const;
const CONNECTIONS = 2;

export interface SoakLoadOptions {
  readonly address: NbdAddress;
  readonly ledger: WriteLedger;
  readonly prng: Prng;
  readonly lanes: number;
  /** Between two requests of a lane. */
  readonly pauseMs: number;
  readonly answered: (kind: "read" | "write", ms: number) => void;
  readonly found: (what: string) => void;
}

interface Lane {
  readonly client: NbdClient;
  sinceMs: number | undefined;
  longestMs: number;
}

export class SoakLoad {
  readonly #options: SoakLoadOptions;
  #lanes: Lane[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #isStopping = false;
  #gate: { readonly opened: Promise<void>; readonly open: () => void } | undefined;
  #atGate = 0;
  #alive = 0;
  writes = 0;
  reads = 0;
  writtenBytes = 0;
  readBytes = 0;

  constructor(options: SoakLoadOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#isStopping = false;
    const clients: NbdClient[] = [];
    for (let index = 0; index < CONNECTIONS; index++)
      clients.push(await NbdClient.connect(this.#options.address));
    this.#lanes = Array.from({ length: this.#options.lanes }, (_none, index) => ({
      client: clients[index % CONNECTIONS]!,
      sinceMs: undefined,
      longestMs: 0,
    }));
    this.#running = Promise.all(this.#lanes.map((lane) => this.#run(lane)));
  }

  /** Waits for all that is in flight. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.resume();
    await this.#running;
    for (const client of new Set(this.#lanes.map((lane) => lane.client))) await client.close();
  }

  /** Before all power goes: the loss of the connection is what is expected from now on. */
  expectLoss(): void {
    this.#isStopping = true;
  }

  /** Runs `work` while no request is in flight. */
  async quietly<T>(work: () => Promise<T>): Promise<T> {
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    this.#gate = { opened, open };
    try {
      while (this.#atGate < this.#alive) await sleep(5);
      return await work();
    } finally {
      this.resume();
    }
  }

  resume(): void {
    this.#gate?.open();
    this.#gate = undefined;
  }

  /** The longest that anybody waits for an answer that has not come. */
  waitingMs(): number {
    const now = performance.now();
    return Math.max(0, ...this.#lanes.map(({ sinceMs }) => now - (sinceMs ?? now)));
  }

  /** The longest that anybody has waited for one answer since the last call. */
  takeStallMs(): number {
    const longest = Math.max(this.waitingMs(), ...this.#lanes.map((lane) => lane.longestMs));
    for (const lane of this.#lanes) lane.longestMs = 0;
    return longest;
  }

  async #run(lane: Lane): Promise<void> {
    this.#alive++;
    await this.#loop(lane).finally(() => this.#alive--);
  }

  async #loop(lane: Lane): Promise<void> {
    const { prng, pauseMs, found } = this.#options;
    while (!this.#isStopping) {
      if (this.#gate !== undefined) await this.#waitAtGate();
      try {
        if (prng.chance(0.4)) await this.#read(lane);
        else await this.#write(lane);
      } catch (error) {
        lane.sinceMs = undefined;
        if (error instanceof NbdConnectionLost) {
          if (!this.#isStopping) found(`the client lost its connection: ${error.message}`);
          return;
        }
        found(errorText(error));
      }
      if (pauseMs > 0) await sleep(pauseMs);
    }
  }

  async #waitAtGate(): Promise<void> {
    this.#atGate++;
    await this.#gate?.opened;
    this.#atGate--;
  }

  async #read(lane: Lane): Promise<void> {
    const { ledger, found } = this.#options;
    const [offset, length] = this.#place();
    ledger.hold(offset, length);
    try {
      const data = await this.#timed(lane, "read", lane.client.read(offset, length));
      // Whole blocks are compared: what a request of some sectors brings is checked by another one.
      if (offset % BLOCK === 0 && length % BLOCK === 0)
        for (const wrong of ledger.verify(offset, data)) found(`read: ${wrong}`);
      this.reads++;
      this.readBytes += length;
    } finally {
      ledger.release(offset, length);
    }
  }

  /** What fails stays in flight for ever: nobody knows what it has left. */
  async #write(lane: Lane): Promise<void> {
    const { ledger, prng } = this.#options;
    const [offset, length] = this.#place();
    const content = prng.chance(0.15) ? 0 : ledger.newContent(prng);
    const change: Change = { offset, length, content };
    ledger.begin(change);
    await this.#timed(lane, "write", this.#send(lane.client, change));
    ledger.acknowledge(change);
    this.writes++;
    this.writtenBytes += length;
  }

  /** A range that nobody uses. */
  #place(): readonly [number, number] {
    const { prng, ledger } = this.#options;
    for (;;) {
      const length = prng.pick(SIZES);
      const alignment = length % BLOCK === 0 && prng.chance(0.8) ? BLOCK : SECTOR;
      const places = Math.floor((ledger.sizeBytes - length) / alignment) + 1;
      const offset = prng.below(places) * alignment;
      if (ledger.isFree(offset, length)) return [offset, length];
    }
  }

  async #send(client: NbdClient, change: Change): Promise<void> {
    const { ledger, prng } = this.#options;
    const { offset, length } = change;
    if (change.content !== 0) {
      await client.write(offset, ledger.dataOf(change), prng.chance(0.2));
      return;
    }
    const isWhole = offset % BLOCK === 0 && length % BLOCK === 0;
    if (isWhole && prng.chance(0.5)) await client.trim(offset, length);
    else await client.writeZeroes(offset, length);
  }

  async #timed<T>(lane: Lane, kind: "read" | "write", work: Promise<T>): Promise<T> {
    const begun = performance.now();
    lane.sinceMs = begun;
    const result = await work;
    const ms = performance.now() - begun;
    lane.sinceMs = undefined;
    lane.longestMs = Math.max(lane.longestMs, ms);
    this.#options.answered(kind, ms);
    return result;
  }
}
