/**
 * One connection of the server over a stream that the test holds, with a volume in memory behind
 * it.
 */
import assert from "node:assert/strict";
import type { Prng } from "../../src/base/index.ts";
import { Connection } from "../../src/frontend/nbd/connection.ts";
import type { ConnectionOwner } from "../../src/frontend/nbd/connection.ts";
import type { ExportCatalog } from "../../src/frontend/index.ts";
import { ReadMemoryPool } from "../../src/frontend/nbd/read-memory.ts";
import { SingleExport } from "../../src/frontend/nbd/single-export.ts";
import {
  clientFlags,
  contextData,
  decodeOptionReplies,
  decodeReplies,
  infoData,
  option,
  request,
} from "./client-bytes.ts";
import type { PendingRead, ReplyFields, RequestFields } from "./client-bytes.ts";
import { MemoryVolume } from "./memory-volume.ts";
import { TestStream } from "./test-stream.ts";

export interface SessionOptions {
  readonly volume?: MemoryVolume;
  readonly catalog?: ExportCatalog;
  readonly requiresTls?: boolean;
}

export class Session implements ConnectionOwner {
  readonly volume: MemoryVolume;
  readonly stream: TestStream = new TestStream();
  readonly memory: ReadMemoryPool = new ReadMemoryPool();
  readonly requiresTls: boolean;
  readonly violations: string[] = [];
  readonly connection: Connection;
  closedCount = 0;

  constructor(options: SessionOptions = {}) {
    this.volume =
      options.volume ??
      new MemoryVolume({ sizeBytes: 1 << 20, completions: "by-test", record: true });
    this.requiresTls = options.requiresTls ?? false;
    const catalog = options.catalog ?? new SingleExport(this.volume, "a test");
    this.connection = new Connection(this.stream, catalog, this);
    this.connection.start();
  }

  agreed(): void {}

  ending(): void {}

  violation(_connection: Connection, reason: string): void {
    this.violations.push(reason);
  }

  closed(): void {
    this.closedCount++;
  }

  /** Sends and lets everything that follows happen, completions in order. */
  async send(...parts: Uint8Array[]): Promise<Buffer> {
    for (const part of parts) this.stream.deliver(part);
    return await this.settle();
  }

  /**
   * Delivers completions and drains the stream until nothing moves; returns what the client
   * received.
   */
  async settle(prng?: Prng): Promise<Buffer> {
    const received: Buffer[] = [];
    for (;;) {
      await turn();
      if (this.volume.waitingCount > 0) {
        this.volume.deliver((count) => prng?.below(count) ?? 0);
      } else if (this.stream.queuedBytes > 0 || this.stream.isEnding) {
        if (this.stream.isClosed) break;
        this.stream.drain();
      } else break;
    }
    received.push(this.stream.takeReceived());
    return Buffer.concat(received);
  }

  /** Past the negotiation. */
  async negotiate(agreed: { structured: boolean; context?: boolean }): Promise<void> {
    const parts = [clientFlags()];
    if (agreed.structured) parts.push(option(8));
    if (agreed.context === true) parts.push(option(10, contextData("", ["base:allocation"])));
    parts.push(option(7, infoData("", [3])));
    const greeted = await this.send(...parts);
    const replies = decodeOptionReplies(greeted.subarray(18));
    assert(
      replies.every(({ type }) => type < 2 ** 31),
      "negotiation failed",
    );
  }

  /** Sends requests in one piece and returns the replies by cookie. */
  async run(...requests: RequestFields[]): Promise<Map<number, ReplyFields>> {
    const bytes = Buffer.concat(requests.map(request));
    return decodeReplies(await this.send(bytes), pendingReads(requests));
  }

  /** The one reply to one request. */
  async ask(fields: Omit<RequestFields, "cookie">): Promise<ReplyFields> {
    const replies = await this.run({ ...fields, cookie: 77 });
    const reply = replies.get(77);
    assert(reply !== undefined && replies.size === 1, "exactly one reply");
    return reply;
  }
}

export function pendingReads(requests: readonly RequestFields[]): Map<number, PendingRead> {
  const reads = new Map<number, PendingRead>();
  for (const { command, cookie, offset, length } of requests) {
    if (command === 0) reads.set(cookie, { offset: Number(offset ?? 0), length: length ?? 0 });
  }
  return reads;
}

/** Everything that is due in microtasks has happened afterwards. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
