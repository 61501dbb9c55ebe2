/**
 * Throws requests that mean harm at the API, over raw sockets: bent lines, headers that disagree
 * about where a body ends, bodies that are not what they are said to be, paths that climb, pieces
 * of any size. Whatever comes: each connection is answered or closed soon after its end, a
 * request in the clear is answered once, nothing is taken for a bug, and the API answers as ever.
 * `npm run fuzz -- http --inputs N` runs more of it.
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { Prng } from "../../base/index.ts";
import { DashboardFiles } from "../dashboard-files.ts";
import { HttpApi } from "./http-api.ts";
import type { ApiBackend, Handlers } from "./http-api.ts";
import { operationNames, operations } from "./operations.ts";

const CONVERSATIONS = 64;
const AT_ONCE = 32;
/** Of one connection, one after the other, for as long as each is understood. */
const REQUESTS_MAX = 60;
/** Nothing comes on any connection for so long: whatever still waits hangs. */
const SILENCE_MS_MAX = 5000;
/** They are compressed when they are first asked for. */
const DASHBOARD = new DashboardFiles();
const STATUS_LINE = /HTTP\/1\.1 [1-5]\d\d /g;
/** A request that a body carries: an answer to it would be one too many. */
const CARRIED = "GET /v1/carried HTTP/1.1\r\nhost: localhost\r\n\r\n";

/** Two opinions on where the body ends, or none that can be believed. */
const TWO_ENDS = [
  "content-length: 5\r\ntransfer-encoding: chunked\r\n",
  "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
  "content-length: 5\r\ncontent-length: 6\r\n",
  "content-length: +5\r\n",
  "content-length: 0x5\r\n",
  "content-length: 5,5\r\n",
  "content-length: -1\r\n",
  "transfer-encoding: chunked, identity\r\n",
  "transfer-encoding : chunked\r\n",
  "transfer-encoding:\x0bchunked\r\n",
] as const;
const PATHS = [
  "/v1/../../../etc/passwd",
  "/v1/volumes/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
  "/assets/..%5c..%5cpackage.json",
  "/%00",
  "/v1/volumes/%ff",
  "//localhost/v1/status",
  "*",
  "http://elsewhere/v1/status",
  "/v1/events?follow=maybe&limit=1e9",
  `/${"a/".repeat(2000)}`,
] as const;
const TYPES = [
  "application/json",
  "application/json; charset=utf-8",
  "text/plain",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
  "",
] as const;
const BODIES = [
  "{}",
  "{",
  "[1]",
  "null",
  '"text"',
  '{"name": "web1", "sizeBytes": 1e400}',
  '{"name": "web1", "sizeBytes": -1}',
  '{"__proto__": {"name": "a"}}',
  '{"constructor": {"prototype": {"x": 1}}}',
  `{"name": "${"é".repeat(3000)}"}`,
  `${"[".repeat(20_000)}`,
  `{"name": "\\ud800"}`,
  CARRIED,
] as const;
const METHODS = ["GET", "POST", "DELETE", "PUT", "OPTIONS", "TRACE"] as const;
const HEADERS = [
  "authorization: Bearer drystone-access-0123456789abcdef-x\r\n",
  "authorization: Basic YTpi\r\n",
  "origin: https://elsewhere\r\n",
  "sec-fetch-site: cross-site\r\n",
  "expect: 100-continue\r\n",
  "upgrade: websocket\r\nconnection: upgrade\r\n",
  `x-long: ${"y".repeat(9000)}\r\n`,
  "x: a\r b\r\n",
  "host: other\r\n",
] as const;

interface Conversation {
  readonly bytes: Buffer;
  /** How many answers there may be. */
  readonly answersMax: number;
}

/** Returns how many requests were answered, or had their connection closed instead. */
export async function fuzzHttp(seed: number): Promise<number> {
  const prng = new Prng(seed);
  const bugs: string[] = [];
  const api = new HttpApi(quietBackend(bugs), undefined, DASHBOARD);
  const port = await api.listen("127.0.0.1", 0);
  let requests = 0;
  try {
    for (let begun = 0; begun < CONVERSATIONS; begun += AT_ONCE) {
      const round = Array.from({ length: AT_ONCE }, () => conversation(prng));
      const said = await Promise.all(round.map((one) => converse(port, one, prng.fork())));
      requests += said.reduce((sum, text) => sum + Math.max(1, answersIn(text)), 0);
      assert.deepEqual(bugs, [], "nothing of it is a bug of ours");
    }
    const sane = "GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    const said = await converse(port, whole(sane), prng);
    assert.match(said, /^HTTP\/1\.1 200 /, "the API answers as ever");
  } finally {
    await api.close();
  }
  return requests;
}

function whole(text: string): Conversation {
  return { bytes: Buffer.from(text, "latin1"), answersMax: 1 };
}

function answersIn(said: string): number {
  return said.match(STATUS_LINE)?.length ?? 0;
}

/** When something last came or went on any connection. */
let progressMs = 0;

/** What comes back by the end of the connection. */
function converse(port: number, what: Conversation, prng: Prng): Promise<string> {
  const { bytes, answersMax } = what;
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const hung = (): void => {
      if (performance.now() - progressMs < SILENCE_MS_MAX) return wait();
      socket.destroy();
      const sent = JSON.stringify(bytes.toString("latin1").slice(0, 400));
      reject(new Error(`nothing comes for ${SILENCE_MS_MAX} ms: ${sent}`));
    };
    let timer: NodeJS.Timeout | undefined;
    const wait = (): void => {
      // What came while the process stood still is taken in first.
      timer = setTimeout(() => setImmediate(hung), SILENCE_MS_MAX);
    };
    let said = "";
    const sizeMax = prng.pick([1, 17, 300, 5000, 100_000, 100_000, 100_000, 100_000]);
    let at = 0;
    const send = (): void => {
      if (socket.destroyed) return;
      progressMs = performance.now();
      // Single bytes for a while only.
      const size = prng.between(1, at < 100 ? sizeMax : Math.max(sizeMax, 4000));
      socket.write(bytes.subarray(at, at + size));
      at += size;
      if (at < bytes.length) setImmediate(send);
      else {
        socket.end();
        wait();
      }
    };
    socket.on("connect", send);
    socket.on("data", (piece: Buffer) => {
      progressMs = performance.now();
      said += piece.toString("latin1");
    });
    // What is left unread when the server lets go comes back as a reset.
    socket.on("error", () => undefined);
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      progressMs = performance.now();
      clearTimeout(timer);
      const answers = answersIn(said);
      if (answers <= answersMax) resolve(said);
      else reject(new Error(`${answers} answers to ${answersMax}: ${JSON.stringify(said)}`));
    });
  });
}

function conversation(prng: Prng): Conversation {
  const kind = prng.below(6);
  const count = prng.between(1, REQUESTS_MAX);
  if (kind === 0) return smuggled(prng, prng.chance(0.5) ? 0 : count);
  const parts = someRequests(prng, count);
  const answersMax = 2 * parts.length; // `100 Continue` counts.
  if (kind > 1) return { bytes: Buffer.concat(parts), answersMax };
  return { bytes: bend(parts, prng), answersMax: Number.POSITIVE_INFINITY };
}

function someRequests(prng: Prng, count: number): readonly Buffer[] {
  return Array.from({ length: count }, () => Buffer.from(anyRequest(prng), "latin1"));
}

/** A request with two ends, and one hidden behind the first of them. */
function smuggled(prng: Prng, before: number): Conversation {
  const method = prng.pick(["POST", "GET", "DELETE"]);
  const line = `${method} ${anyPath(prng)} HTTP/1.1\r\nhost: localhost\r\n`;
  const text = `${line}${prng.pick(TWO_ENDS)}\r\n0\r\n\r\n${CARRIED}`;
  const parts = Array.from({ length: before }, () => Buffer.from(soundRequest(prng), "latin1"));
  return { bytes: Buffer.concat([...parts, Buffer.from(text, "latin1")]), answersMax: before + 1 };
}

/** One after which the connection is still of use. */
function soundRequest(prng: Prng): string {
  return `GET ${anyPath(prng)} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
}

function anyPath(prng: Prng): string {
  const { path } = operations[prng.pick(operationNames)];
  const names = ["web1", "%2e%2e", "a%2fb", "x".repeat(300), "%E2%82"];
  return path.replace(/:\w+/g, () => prng.pick(names));
}

function anyRequest(prng: Prng): string {
  const method = prng.chance(0.99) ? prng.pick(METHODS) : "get";
  const path = prng.chance(0.6) ? anyPath(prng) : prng.pick(PATHS);
  const body = method === "GET" && prng.chance(0.8) ? "" : prng.pick(BODIES);
  const length = Buffer.byteLength(body, "latin1");
  const isChunked = body !== "" && prng.chance(0.3);
  const framing = isChunked ? "transfer-encoding: chunked\r\n" : `content-length: ${length}\r\n`;
  const content = isChunked ? `${length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
  const more = prng.chance(0.1) ? prng.pick(HEADERS) : "";
  const type = prng.chance(0.7) ? "application/json" : prng.pick(TYPES);
  const version = prng.chance(0.99) ? "1.1" : "1.0"; // It ends the connection.
  return `${method} ${path} HTTP/${version}\r\nhost: localhost\r\ncontent-type: ${type}\r\n${more}${framing}\r\n${content}`;
}

const NOISE = [
  "\r\n",
  "\n",
  "\0",
  "\r",
  " ",
  ":",
  "HTTP/9.9",
  "\xff\xfe",
  "%",
  "ffffffffffffffff\r\n",
];

function bend(parts: readonly Buffer[], prng: Prng): Buffer {
  let bytes: Buffer = Buffer.concat(parts);
  for (let times = prng.between(1, 5); times > 0; times--) {
    const at = prng.below(bytes.length);
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
    const kind = prng.below(4);
    if (kind === 0) bytes[at] = prng.below(256);
    else if (kind === 1)
      bytes = Buffer.concat([head, Buffer.from(prng.pick(NOISE), "latin1"), tail]);
    else if (kind === 2) bytes = Buffer.concat([head, tail.subarray(prng.below(40))]);
    else bytes = Buffer.concat([head, tail.subarray(0, prng.below(200)), tail]);
    if (bytes.length === 0) bytes = Buffer.from("x");
  }
  return bytes;
}

/** Answers everything with nothing, at once. */
export function quietBackend(bugs: string[]): ApiBackend {
  const nothing = async (): Promise<never> => ({ events: [], lastSequence: 0 }) as never;
  const handlers = Object.fromEntries(operationNames.map((name) => [name, nothing]));
  return {
    handlers: handlers as unknown as Handlers,
    ready: Promise.resolve(),
    metricsText: async () => "",
    unhealthyReason: async () => undefined,
    unreadyReason: async () => undefined,
    principalOf: async () => ({ who: "a test", role: "admin", scopes: undefined }),
    audit: () => undefined,
    followEvents: () => () => undefined,
    join: undefined,
    renew: undefined,
    reportRefusal: () => undefined,
    reportBug: (operation, error) => void bugs.push(`${operation}: ${String(error)}`),
  };
}
