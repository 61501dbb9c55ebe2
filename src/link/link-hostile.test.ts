import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError, encodeUtf8 } from "../base/index.ts";
import { encodeLinkHeader, LINK_BODY_BYTES_MAX, LINK_HELLO } from "../format/index.ts";
import { LINK_HEADER_BYTES, LINK_SPOKEN_NEWEST } from "../format/index.ts";
import type { ByteStream, ByteStreamHandler } from "../ports/index.ts";
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

/** A link that somebody else has opened, and what became of it. */
function called(events: Partial<LinkEvents>): {
  readonly downs: string[];
  readonly stacks: unknown[];
  readonly send: (bytes: Uint8Array) => void;
} {
  const downs: string[] = [];
  const stacks: unknown[] = [];
  let handler: ByteStreamHandler | undefined;
  const stream: ByteStream = {
    remote: "10.0.0.2:1",
    start: (its) => void (handler = its),
    write: (_bytes, token) => {
      handler!.written(token);
      return true;
    },
    pause() {},
    resume() {},
    end() {},
    destroy() {},
  };
  const ports = {
    clock: { nowMs: () => 0, wallMs: () => 0, after: () => ({ cancel() {} }) },
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
    message: () => undefined,
    down: (_link, reason) => void downs.push(reason),
    ...events,
  };
  new Link(stream, ports, { ...OWN, network: "storage", versions }, all, false).start();
  return { downs, stacks, send: (bytes) => handler!.data(bytes) };
}

function hello(fields: object): Uint8Array {
  const sane = { ...OWN, hostId: "b".repeat(32), network: "storage", version: LINK_SPOKEN_NEWEST };
  return frame(LINK_HELLO, encodeUtf8(JSON.stringify({ ...sane, ...fields })));
}

function frame(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(LINK_HEADER_BYTES + body.length);
  encodeLinkHeader(bytes, 0, type, body.length, 0);
  bytes.set(body, LINK_HEADER_BYTES);
  return bytes;
}
