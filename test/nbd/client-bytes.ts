/**
 * The client's side of the NBD protocol as bytes, for tests: written against the specification
 * alone.
 */
import assert from "node:assert/strict";

export const FLAGS_FIXED = 1;
export const FLAGS_NO_ZEROES = 2;

export function clientFlags(flags: number = FLAGS_FIXED | FLAGS_NO_ZEROES): Buffer {
  return u32(flags);
}

export function option(
  code: number,
  data: Uint8Array = Buffer.alloc(0),
  announced?: number,
): Buffer {
  return Buffer.concat([Buffer.from("IHAVEOPT"), u32(code), u32(announced ?? data.length), data]);
}

export function infoData(name: string, infos: readonly number[] = []): Buffer {
  return Buffer.concat([text(name), u16(infos.length), ...infos.map(u16)]);
}

export function contextData(name: string, queries: readonly string[]): Buffer {
  return Buffer.concat([text(name), u32(queries.length), ...queries.map(text)]);
}

export interface RequestFields {
  readonly command: number;
  readonly flags?: number;
  readonly cookie: number;
  readonly offset?: number | bigint;
  readonly length?: number;
  readonly payload?: Uint8Array;
}

export function request(fields: RequestFields): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(0x25609513, 0);
  header.writeUInt16BE(fields.flags ?? 0, 4);
  header.writeUInt16BE(fields.command, 6);
  header.writeBigUInt64BE(BigInt(fields.cookie), 8);
  header.writeBigUInt64BE(BigInt(fields.offset ?? 0), 16);
  header.writeUInt32BE(fields.length ?? fields.payload?.length ?? 0, 24);
  return Buffer.concat([header, fields.payload ?? Buffer.alloc(0)]);
}

export interface OptionReplyFields {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

/** Replies to options up to the end of the bytes. */
export function decodeOptionReplies(bytes: Buffer): OptionReplyFields[] {
  const replies: OptionReplyFields[] = [];
  let at = 0;
  while (at < bytes.length) {
    assert.equal(bytes.readBigUInt64BE(at), 0x3e889045565a9n, "option reply magic");
    const length = bytes.readUInt32BE(at + 16);
    assert(at + 20 + length <= bytes.length, "an option reply is cut");
    replies.push({
      option: bytes.readUInt32BE(at + 8),
      type: bytes.readUInt32BE(at + 12),
      data: bytes.subarray(at + 20, at + 20 + length),
    });
    at += 20 + length;
  }
  return replies;
}

export interface ReplyFields {
  errno: number;
  /** What a read brought, put together from its chunks. */
  data?: Buffer;
  /** Length and flags of extents. */
  extents?: [number, number][];
  /** Types of the chunks in order; empty for a simple reply. */
  chunks: number[];
}

/** What the client knows about a request when its reply comes. */
export interface PendingRead {
  readonly offset: number;
  readonly length: number;
}

/** Complete replies by cookie. Fails on anything the specification does not allow. */
export function decodeReplies(
  bytes: Buffer,
  reads: ReadonlyMap<number, PendingRead>,
): Map<number, ReplyFields> {
  const replies = new Map<number, ReplyFields>();
  const complete = new Set<number>();
  let at = 0;
  while (at < bytes.length) {
    const magic = bytes.readUInt32BE(at);
    const cookie = Number(bytes.readBigUInt64BE(at + 8));
    assert(!complete.has(cookie), "a reply goes on after its last chunk");
    if (magic === 0x67446698) {
      assert(!replies.has(cookie), "a simple reply follows chunks");
      const reply = { errno: bytes.readUInt32BE(at + 4), chunks: [] };
      replies.set(cookie, reply);
      complete.add(cookie);
      at += 16;
      const read = reads.get(cookie);
      if (read === undefined || reply.errno !== 0) continue;
      Object.assign(reply, { data: bytes.subarray(at, at + read.length) });
      at += read.length;
      assert(at <= bytes.length, "a simple reply is cut");
    } else {
      assert.equal(magic, 0x668e33ef, "structured reply magic");
      const length = bytes.readUInt32BE(at + 16);
      const reply = replies.get(cookie) ?? { errno: 0, chunks: [] };
      replies.set(cookie, reply);
      if ((bytes.readUInt16BE(at + 4) & 1) !== 0) complete.add(cookie);
      const payload = bytes.subarray(at + 20, at + 20 + length);
      assert.equal(payload.length, length, "a chunk is cut");
      decodeChunk(bytes.readUInt16BE(at + 6), payload, reply, reads.get(cookie));
      at += 20 + length;
    }
  }
  for (const [cookie, reply] of replies) {
    assert(complete.has(cookie), "a reply has no last chunk");
    checkCover(reply);
  }
  return replies;
}

const covers = new WeakMap<ReplyFields, Uint8Array>();

function decodeChunk(
  type: number,
  payload: Buffer,
  reply: ReplyFields,
  read: PendingRead | undefined,
): void {
  reply.chunks.push(type);
  if (type === 0) assert.equal(payload.length, 0);
  else if (type === 1 || type === 2) {
    assert(read !== undefined, "content for a request that is no read");
    const offset = Number(payload.readBigUInt64BE(0));
    const length = type === 1 ? payload.length - 8 : payload.readUInt32BE(8);
    assert(length > 0 && (type === 1 || payload.length === 12), "a content chunk has a bad length");
    assert(offset >= read.offset && offset + length <= read.offset + read.length, "out of range");
    reply.data ??= Buffer.alloc(read.length, 0xcc);
    const cover = covers.get(reply) ?? new Uint8Array(read.length / 512);
    covers.set(reply, cover);
    const at = offset - read.offset;
    assert(
      cover.subarray(at / 512, (at + length) / 512).every((seen) => seen === 0),
      "overlapping chunks",
    );
    cover.fill(1, at / 512, (at + length) / 512);
    if (type === 1) payload.copy(reply.data, at, 8);
    else reply.data.fill(0, at, at + length);
  } else if (type === 5) {
    assert(payload.length >= 12 && payload.length % 8 === 4, "a block status has a bad length");
    reply.extents = [];
    for (let at = 4; at < payload.length; at += 8) {
      reply.extents.push([payload.readUInt32BE(at), payload.readUInt32BE(at + 4)]);
    }
  } else {
    assert.equal(type, 0x8001, "unexpected chunk type");
    reply.errno = payload.readUInt32BE(0);
    assert(reply.errno !== 0, "an error chunk without an error");
    assert.equal(payload.readUInt16BE(4), payload.length - 6);
  }
}

function checkCover(reply: ReplyFields): void {
  const cover = covers.get(reply);
  if (cover === undefined || reply.errno !== 0) return;
  assert(
    cover.every((seen) => seen === 1),
    "a read is not covered by its chunks",
  );
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u32(bytes.length), bytes]);
}
