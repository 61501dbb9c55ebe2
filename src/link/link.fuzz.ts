/**
 * What may come over a link, byte by byte, without a host behind it: messages of every type, whole,
 * bent, cut off and in pieces, before and after the hello, to whom called and to whom was called.
 * The reader must find in pieces just what lies in the whole; nothing is heard after the first
 * byte that cannot be believed, nothing after the link is down; every call under way ends; nothing
 * throws. `npm run fuzz -- frames --inputs N` runs more of it.
 */
import assert from "node:assert/strict";
import { CodedError, encodeUtf8, Prng, setU32 } from "../base/index.ts";
import { decodeLinkHeader, encodeLinkHeader, LINK_BODY_BYTES_MAX } from "../format/index.ts";
import { LINK_CALL, LINK_FAULT, LINK_HEADER_BYTES, LINK_HELLO } from "../format/index.ts";
import { LINK_PING, LINK_PONG, LINK_REFUSAL, LINK_RESULT } from "../format/index.ts";
import { LINK_SPOKEN_NEWEST, LINK_TYPE_MAX, LINK_WELCOME } from "../format/index.ts";
import type { ByteStream, ByteStreamHandler, Clock } from "../ports/index.ts";
import { ChunkPool } from "./chunk-pool.ts";
import { FrameReader } from "./frame-reader.ts";
import { Link } from "./link.ts";

const CLUSTER = "c1".repeat(16);
const OWN = { clusterId: CLUSTER, hostId: "b".repeat(32), incarnation: 1 } as const;
const CONVERSATIONS = 30;
const MESSAGES_MAX = 120;
/** Of bytes that wait to be sent; nothing here asks for more. */
const QUEUED_BYTES_MAX = 4 << 20;
const TEXTS = [
  ...['{"method":"component.open","argument":{"epoch":1}}', '{"method":"a"}', '{"method":7}'],
  ...["{}", "null", "[]", "", "{", '"x"', `${"[".repeat(3000)}`, '{"__proto__":{"method":"a"}}'],
  ...['{"code":"fenced","message":"old"}', '{"code":1,"message":[]}', '{"method":"a","method":1}'],
  '{"code":"internal","message":"x","hint":{}}',
] as const;
const HELLOS: readonly Readonly<Record<string, unknown>>[] = [
  { clusterId: "x" },
  { hostId: OWN.hostId },
  { hostId: 5 },
  { incarnation: 0.5 },
  { network: "management" },
  { network: null },
  { version: LINK_SPOKEN_NEWEST + 1, oldestVersion: LINK_SPOKEN_NEWEST + 1 },
  { version: -1 },
  { oldestVersion: "1" },
];

/** Time stands still: nothing here waits. */
const clock: Clock = { nowMs: () => 0, wallMs: () => 0, after: () => ({ cancel() {} }) };

/** Returns how many messages were taken in up to where each link ended. */
export async function fuzzFrames(seed: number): Promise<number> {
  const prng = new Prng(seed);
  let heard = 0;
  for (let i = 0; i < CONVERSATIONS; i++) {
    const isDialer = prng.chance(0.3);
    const bytes = conversation(prng, isDialer);
    const pieces = split(bytes, prng);
    const found = readWhole(bytes);
    assert.deepEqual(readPieces(pieces), found, "pieces hold what the whole does");
    await new Conversation(prng, isDialer).take(pieces);
    heard += found.length;
  }
  return heard;
}

/** Type, request and a sum over the body of each message, and the fault at the end. */
function readWhole(bytes: Uint8Array): readonly string[] {
  const found: string[] = [];
  const header = { type: 0, bodyBytes: 0, requestId: 0 };
  for (let at = 0; bytes.length - at >= LINK_HEADER_BYTES;) {
    const fault = decodeLinkHeader(bytes, at, header);
    if (fault !== undefined) return [...found, fault];
    const from = at + LINK_HEADER_BYTES;
    at = from + header.bodyBytes;
    if (at > bytes.length) break;
    found.push(wordsOf(header.type, header.requestId, bytes.subarray(from, at)));
  }
  return found;
}

function readPieces(pieces: readonly Uint8Array[]): readonly string[] {
  const found: string[] = [];
  const reader = new FrameReader(
    new ChunkPool(),
    ({ type, requestId, bodyBytes }, bytes, start, end) => {
      assert.ok(bodyBytes === end - start && bodyBytes <= LINK_BODY_BYTES_MAX);
      found.push(wordsOf(type, requestId, bytes.subarray(start, end)));
    },
  );
  for (const piece of pieces) {
    const fault = reader.push(piece);
    if (fault === undefined) continue;
    assert.equal(reader.push(piece), fault, "nothing is read after a fault");
    return [...found, fault];
  }
  return found;
}

function wordsOf(type: number, requestId: number, body: Uint8Array): string {
  let sum = body.length;
  for (const byte of body) sum = (Math.imul(sum, 31) + byte) | 0;
  return `${type} ${requestId} ${sum}`;
}

class Conversation implements ByteStream {
  readonly remote = "10.0.0.2:1";
  readonly #prng: Prng;
  readonly #link: Link;
  readonly #bugs: string[] = [];
  readonly #outcomes: Promise<unknown>[] = [];
  #handler: ByteStreamHandler | undefined;
  #isOver = false;
  #downs = 0;

  constructor(prng: Prng, isDialer: boolean) {
    this.#prng = prng;
    const log = {
      write: (level: string, message: string) => void (level === "error" && this.#fail(message)),
    };
    const versions = { oldest: LINK_SPOKEN_NEWEST, newest: LINK_SPOKEN_NEWEST };
    const own = { ...OWN, network: "storage" as const, versions };
    const answer = async (): Promise<{ result: unknown; payload: Uint8Array }> => {
      if (prng.chance(0.3)) throw new CodedError({ code: "fenced", message: "an old epoch" });
      return { result: 1, payload: new Uint8Array(prng.below(100)) };
    };
    const events = {
      admit: () => undefined,
      welcome: () => this.#welcome(),
      call: (_: Link, { method, payload }: { method: unknown; payload: Uint8Array }) => {
        if (typeof method !== "string" || payload.length > LINK_BODY_BYTES_MAX)
          this.#fail("a call that is none");
        return answer();
      },
      answerLength: () => "short" as const,
      message: (_: Link, { type }: { type: number }) => {
        if (this.#isOver || type < 9) this.#fail(`a message of type ${type} is heard`);
      },
      down: () => void this.#downs++,
    };
    this.#link = new Link(this, { clock, log, chunks: new ChunkPool() }, own, events, isDialer);
  }

  async take(pieces: readonly Uint8Array[]): Promise<void> {
    this.#link.start();
    for (const piece of pieces) {
      if (this.#isOver) break;
      this.#handler!.data(piece);
      // What was called is answered, and what was answered leaves.
      if (this.#prng.chance(0.3)) await Promise.resolve();
      assert.ok(this.#link.queuedBytes <= QUEUED_BYTES_MAX, "what waits to leave is bounded");
    }
    this.#link.close("the test is over");
    await Promise.all(this.#outcomes);
    assert.equal(this.#downs, 1, "a link ends once");
    assert.deepEqual(this.#bugs, []);
  }

  #welcome(): void {
    // Numbered from 1; answers to them and to others come.
    for (let calls = this.#prng.below(6); calls > 0; calls--) {
      const call = this.#link.call("component.open", {}, 1000);
      const end = (error: unknown): void => {
        if (!(error instanceof CodedError)) this.#fail(`a call ended with ${String(error)}`);
      };
      this.#outcomes.push(call.catch(end));
    }
  }

  #fail(what: string): void {
    this.#bugs.push(what);
  }

  start(handler: ByteStreamHandler): void {
    this.#handler = handler;
  }

  write(_bytes: Uint8Array, token: number): boolean {
    if (this.#isOver) this.#fail("something is sent after the end");
    this.#handler!.written(token);
    return true;
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.#isOver = true;
  }

  destroy(): void {
    this.#isOver = true;
  }
}

function conversation(prng: Prng, isDialer: boolean): Uint8Array {
  const parts = [];
  if (prng.chance(0.97)) parts.push(hello(prng, isDialer));
  for (let left = prng.between(1, MESSAGES_MAX); left > 0; left--) parts.push(anyMessage(prng));
  const bytes = Uint8Array.from(Buffer.concat(parts));
  if (prng.chance(0.5)) {
    // Half of it is in the header of the first messages, which decides the most.
    const at = prng.below(prng.chance(0.5) ? Math.min(bytes.length, 400) : bytes.length);
    bytes[at] = prng.below(256);
  }
  return prng.chance(0.1) ? bytes.subarray(0, prng.below(bytes.length)) : bytes;
}

function hello(prng: Prng, isDialer: boolean): Uint8Array {
  const sane = { ...OWN, hostId: "d".repeat(32), network: "storage", version: LINK_SPOKEN_NEWEST };
  const said = prng.chance(0.9) ? sane : { ...sane, ...prng.pick(HELLOS) };
  const type = isDialer ? LINK_WELCOME : LINK_HELLO;
  const text = prng.chance(0.97) ? JSON.stringify(said) : prng.pick(TEXTS);
  return message(prng, prng.chance(0.98) ? type : LINK_REFUSAL, encodeUtf8(text));
}

function anyMessage(prng: Prng): Uint8Array {
  const kind = prng.below(10);
  if (kind < 2) return message(prng, prng.pick([LINK_PING, LINK_PONG]), new Uint8Array(0));
  if (kind < 4) return message(prng, LINK_CALL, body(prng));
  if (kind < 6) return message(prng, prng.pick([LINK_RESULT, LINK_FAULT]), body(prng));
  const noise = new Uint8Array(prng.chance(0.02) ? prng.below(60_000) : prng.below(40));
  prng.fill(noise);
  // Those that end a link come seldom.
  return message(prng, prng.chance(0.98) ? prng.between(16, 20) : prng.below(LINK_TYPE_MAX), noise);
}

/** The length of a text, the text, and bytes behind it: as a call has it, nearly always. */
function body(prng: Prng): Uint8Array {
  const text = encodeUtf8(prng.chance(0.95) ? TEXTS[prng.below(2)]! : prng.pick(TEXTS));
  const bytes = new Uint8Array(4 + text.length + prng.below(30));
  setU32(bytes, 0, prng.chance(0.98) ? text.length : prng.u32());
  bytes.set(text, 4);
  return prng.chance(0.98) ? bytes : bytes.subarray(0, prng.below(bytes.length));
}

function message(prng: Prng, type: number, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(LINK_HEADER_BYTES + content.length);
  encodeLinkHeader(bytes, 0, type, content.length, prng.below(8));
  bytes.set(content, LINK_HEADER_BYTES);
  return bytes;
}

function split(bytes: Uint8Array, prng: Prng): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const sizeMax = prng.pick([1, 30, 500, 5000, bytes.length + 1]);
  for (let at = 0; at < bytes.length;) {
    // Single bytes for a while only.
    const size = prng.between(1, at < 300 ? sizeMax : Math.max(sizeMax, 300));
    pieces.push(bytes.slice(at, at + size));
    at += size;
  }
  return pieces;
}
