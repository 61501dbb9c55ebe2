import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError, encodeUtf8, setU32 } from "../base/index.ts";
import { encodeLinkHeader, LINK_BODY_BYTES_MAX, LINK_CALL, LINK_HELLO } from "../format/index.ts";
import { LINK_HEADER_BYTES, LINK_PING, LINK_SPOKEN_NEWEST } from "../format/index.ts";
import type { ByteStream, ByteStreamHandler } from "../ports/index.ts";
import { ANSWER_BYTES_MAX } from "./answer-room.ts";
import { ChunkPool } from "./chunk-pool.ts";
import { fuzzFrames } from "./link.fuzz.ts";
import { parseFault } from "./link-json.ts";
import { Link } from "./link.ts";
import type { LinkEvents } from "./link.ts";

const SEEDS = 10;
const OWN = { clusterId: "c".repeat(32), hostId: "a".repeat(32), incarnation: 1 } as const;

test("whatever bytes come over a link, they cost that link at most", async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    await fuzzFrames(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});

test("a hello that is too long to be quoted is none, and ends its link", () => {
  for (const field of ["clusterId", "hostId"]) {
    const said = hello({ [field]: "" }).length - LINK_HEADER_BYTES;
    const { downs, send } = called({});
    send(hello({ [field]: "x".repeat(LINK_BODY_BYTES_MAX - said) }));
    assert.deepEqual(downs, ["it does not begin with a hello"]);
  }
});

test("what is thrown for what the other end sent ends the link, and a bug is logged with its place", () => {
  const bug = new TypeError("no such property");
  const refusal = new CodedError({ code: "message-invalid", message: "a message is invalid" });
  for (const [thrown, reason] of [
    [bug, "what it sent could not be dealt with because of a bug: no such property"],
    [refusal, "a message is invalid"],
  ] as const) {
    const { downs, stacks, send } = called({
      message: () => {
        throw thrown;
      },
    });
    send(hello({}));
    send(frame(20, new Uint8Array(0)));
    assert.deepEqual([downs, stacks], [[reason], thrown === bug ? [bug.stack] : []]);
  }
});

test("words of another host are cut before they are quoted", () => {
  const { code, message, hint } = parseFault(
    JSON.stringify({ code: "c".repeat(9999), message: "m".repeat(9999), hint: "h".repeat(9999) }),
  );
  for (const words of [code, message, hint]) assert.equal(words?.length, 4097);
});

const LONG = new Uint8Array(1 << 20);

function call(requestId: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = encodeUtf8(JSON.stringify({ method: "component.changes", argument: {} }));
  const body = new Uint8Array(4 + text.length + payload.length);
  setU32(body, 0, text.length);
  body.set(text, 4);
  body.set(payload, 4 + text.length);
  return frame(LINK_CALL, body, requestId);
}

test("a peer that calls and reads nothing gets as many answers as there is room for, and the others once it reads", async () => {
  for (const answerLength of ["long", "short"] as const) {
    let begun = 0;
    const answer = answerLength === "long" ? LONG : LONG.subarray(0, 1024);
    const { link, downs, send, letRead } = called({
      call: async () => {
        begun++;
        return { result: 1, payload: answer };
      },
      answerLength: () => answerLength,
    });
    send(hello({}));
    letRead(false);
    const calls = answerLength === "long" ? 60 : 9000;
    for (let i = 1; i <= calls; i++) {
      send(call(i));
      if (i % 50 === 0) await turn();
      assert.ok(link.queuedBytes <= ANSWER_BYTES_MAX, `${link.queuedBytes} bytes wait`);
    }
    assert.ok(begun < calls, "all were answered");
    send(frame(LINK_PING, new Uint8Array(0)));
    await turn();
    assert.deepEqual(downs, [], "whoever is slow is heard all the same");
    letRead(true);
    for (let i = 0; i < calls; i++) await turn();
    assert.deepEqual([begun, link.queuedBytes], [calls, 0]);
  }
});

test("short answers are given while long ones wait for room", async () => {
  const methods: string[] = [];
  const { send, letRead } = called({
    call: async (_link, { method }) => {
      methods.push(method);
      return { result: 1, payload: LONG };
    },
    answerLength: (method) => (method === "component.changes" ? "long" : "short"),
  });
  send(hello({}));
  letRead(false);
  for (let i = 1; i <= 40; i++) send(call(i));
  const text = encodeUtf8(JSON.stringify({ method: "component.open" }));
  const body = new Uint8Array(4 + text.length);
  setU32(body, 0, text.length);
  body.set(text, 4);
  send(frame(LINK_CALL, body, 41));
  assert.equal(methods.at(-1), "component.open");
  assert.ok(methods.length < 41);
});

test("a call that hangs for a minute has no room reserved any more", async () => {
  let begun = 0;
  const { send, pass } = called({
    call: () => {
      begun++;
      return new Promise(() => {});
    },
    answerLength: () => "long",
  });
  send(hello({}));
  for (let i = 1; i <= 40; i++) send(call(i));
  const before = begun;
  assert.ok(before < 40);
  pass(60_000);
  send(frame(LINK_PING, new Uint8Array(0)));
  await turn();
  assert.equal(begun, Math.min(40, 2 * before));
});

test("a peer that goes on calling without end is cut off", async () => {
  const { link, downs, send, letRead } = called({
    call: async () => ({ result: 1, payload: LONG }),
    answerLength: () => "long",
  });
  send(hello({}));
  letRead(false);
  for (let i = 1; i <= 200 && downs.length === 0; i++) {
    send(call(i, LONG));
    await turn();
  }
  assert.deepEqual(downs, ["it asks for more than it takes"]);
  assert.ok(link.queuedBytes <= ANSWER_BYTES_MAX);
});

test("a peer that sends what has to be answered, and reads nothing, is cut off, too", async () => {
  const { link, downs, send, letRead } = called({
    message: (to, { requestId }) => void to.message(20, requestId, 1 << 20),
  });
  send(hello({}));
  letRead(false);
  for (let i = 1; i <= 400 && downs.length === 0; i++) send(frame(20, new Uint8Array(0), i));
  assert.deepEqual(downs, ["it asks for more than it takes"]);
  assert.ok(link.queuedBytes <= (256 + 2) << 20);
});

test("what is asked of a peer that answers nothing is bounded by its bytes", async () => {
  const { link, send, letRead } = called({});
  send(hello({}));
  letRead(false);
  const outcomes: string[] = [];
  for (let i = 0; i < 100; i++)
    link.call("component.apply", {}, 1000, LONG).catch((error: unknown) => {
      assert.ok(error instanceof CodedError);
      outcomes.push(error.message);
    });
  await turn();
  assert.equal(outcomes.length, 36);
  assert.match(outcomes[0]!, /too many calls are under way/);
  link.close("the test is over");
});

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** A link that somebody else has opened, and what became of it. */
function called(events: Partial<LinkEvents>): {
  readonly link: Link;
  readonly downs: string[];
  readonly stacks: unknown[];
  readonly send: (bytes: Uint8Array) => void;
  readonly letRead: (isRead: boolean) => void;
  readonly pass: (ms: number) => void;
} {
  let nowMs = 0;
  let isRead = true;
  const unread: number[] = [];
  const downs: string[] = [];
  const stacks: unknown[] = [];
  let handler: ByteStreamHandler | undefined;
  const stream: ByteStream = {
    remote: "10.0.0.2:1",
    start: (its) => void (handler = its),
    write: (_bytes, token) => {
      if (isRead) handler!.written(token);
      else unread.push(token);
      return true;
    },
    pause() {},
    resume() {},
    end() {},
    destroy() {},
  };
  const ports = {
    clock: { nowMs: () => nowMs, wallMs: () => 0, after: () => ({ cancel() {} }) },
    log: {
      write: (level: string, _message: string, fields?: Readonly<Record<string, unknown>>) =>
        void (level === "error" && stacks.push(fields?.["stack"])),
    },
    chunks: new ChunkPool(),
  };
  const versions = { oldest: LINK_SPOKEN_NEWEST, newest: LINK_SPOKEN_NEWEST };
  const all: LinkEvents = {
    admit: () => undefined,
    welcome: () => undefined,
    call: async () => ({ result: 1 }),
    answerLength: () => "short",
    message: () => undefined,
    down: (_link, reason) => void downs.push(reason),
    ...events,
  };
  const own = { ...OWN, network: "storage", versions } as const;
  const link = new Link(stream, ports, own, all, false);
  link.start();
  return {
    link,
    downs,
    stacks,
    send: (bytes) => handler!.data(bytes),
    letRead: (mayRead) => {
      isRead = mayRead;
      if (isRead) for (const token of unread.splice(0)) handler!.written(token);
    },
    pass: (ms) => void (nowMs += ms),
  };
}

function hello(fields: object): Uint8Array {
  const sane = { ...OWN, hostId: "b".repeat(32), network: "storage", version: LINK_SPOKEN_NEWEST };
  return frame(LINK_HELLO, encodeUtf8(JSON.stringify({ ...sane, ...fields })));
}

function frame(type: number, body: Uint8Array, requestId = 0): Uint8Array {
  const bytes = new Uint8Array(LINK_HEADER_BYTES + body.length);
  encodeLinkHeader(bytes, 0, type, body.length, requestId);
  bytes.set(body, LINK_HEADER_BYTES);
  return bytes;
}
