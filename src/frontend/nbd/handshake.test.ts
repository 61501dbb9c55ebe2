import assert from "node:assert/strict";
import {
  clientFlags,
  contextData,
  decodeOptionReplies,
  infoData,
  option,
  text,
  u32,
} from "../../../test/nbd/client-bytes.ts";
import { MemoryVolume } from "../../../test/nbd/memory-volume.ts";
import { Session } from "../../../test/nbd/session.ts";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import type { ExportCatalog, ExportInfo } from "./export-catalog.ts";

const GREETING = "4e42444d41474943" + "49484156454f5054" + "0003";
const REPLY = "0003e889045565a9";
const UNSUPPORTED = 0x80000001;
const POLICY = 0x80000002;
const INVALID = 0x80000003;
const UNKNOWN = 0x80000006;
const SHUTDOWN = 0x80000007;
const TOO_BIG = 0x80000009;

const hex = (bytes: Buffer): string => bytes.toString("hex");

async function greeted(): Promise<Session> {
  const session = new Session();
  assert.equal(hex(await session.settle()), GREETING);
  await session.send(clientFlags());
  return session;
}

async function replyTypes(session: Session, ...options: Buffer[]): Promise<number[]> {
  return decodeOptionReplies(await session.send(...options)).map(({ type }) => type);
}

test("GO answers size, flags and block sizes byte by byte", async () => {
  const session = await greeted();
  const answer = await session.send(option(7, infoData("v1", [3])));
  // HAS_FLAGS FLUSH FUA TRIM WRITE_ZEROES CAN_MULTI_CONN CACHE FAST_ZERO, without DF.
  const flags = "0d6d";
  const info = `${REPLY}00000007` + "00000003" + "0000000c" + "0000" + "0000000000100000" + flags;
  const sizes = `${REPLY}00000007` + "00000003" + "0000000e" + "0003" + "000002000000100002000000";
  const ack = `${REPLY}00000007` + "00000001" + "00000000";
  assert.equal(hex(answer), info + sizes + ack);
  assert.equal(session.connection.exportName, "v1");
});

test("EXPORT_NAME answers size and flags, with 124 zeroes unless they are declined", async () => {
  for (const [flags, padding] of [
    [3, 0],
    [1, 124],
    [0, 124],
  ] as const) {
    const session = new Session();
    await session.settle();
    const answer = await session.send(clientFlags(flags), option(1, Buffer.from("v1")));
    assert.equal(hex(answer), "0000000000100000" + "0d6d" + "00".repeat(padding));
    assert.equal((await session.ask({ command: 0, length: 512 })).data?.length, 512);
  }
});

test("DF is offered once structured replies are agreed on", async () => {
  const session = await greeted();
  const replies = decodeOptionReplies(await session.send(option(8), option(6, infoData("v1"))));
  assert.deepEqual(
    replies.map(({ type }) => type),
    [1, 3, 3, 1],
  );
  assert.equal(replies[1]!.data.readUInt16BE(10), 0x0ded);
});

test("a read-only export says so and offers no changes", async () => {
  const volume = new MemoryVolume({ sizeBytes: 4096, readOnly: true, completions: "by-test" });
  const session = new Session({ volume });
  const bytes = await session.send(clientFlags(), option(6, infoData("")));
  const [info] = decodeOptionReplies(bytes.subarray(18));
  assert.equal(info!.data.readUInt16BE(10), 0x050f);
});

test("LIST names exports with their descriptions", async () => {
  const session = await greeted();
  const [server, ack] = decodeOptionReplies(await session.send(option(3)));
  assert.equal(hex(server!.data), hex(Buffer.concat([text("v1"), Buffer.from("a test")])));
  assert.equal(ack!.type, 1);
});

test("INFO tells name and description when asked, and leaves the negotiation open", async () => {
  const session = await greeted();
  const replies = decodeOptionReplies(await session.send(option(6, infoData("", [1, 2, 9]))));
  const infos = replies.slice(0, -1).map(({ data }) => data);
  const texts = infos.filter((data) => [1, 2].includes(data.readUInt16BE(0)));
  assert.deepEqual(
    texts.map((data) => data.subarray(2).toString()),
    ["v1", "a test"],
  );
  assert.deepEqual(await replyTypes(session, option(7, infoData(""))), [3, 3, 1]);
});

test("contexts are listed and set by the rules of base:allocation", async () => {
  const session = await greeted();
  assert.deepEqual(await replyTypes(session, option(10, contextData("", []))), [INVALID]);
  await session.send(option(8));
  const ask = async (code: number, ...queries: string[]): Promise<string[]> => {
    const bytes = await session.send(option(code, contextData("", queries)));
    const replies = decodeOptionReplies(bytes);
    assert.equal(replies.at(-1)!.type, 1);
    return replies.slice(0, -1).map(({ data }) => `${data.readUInt32BE(0)} ${data.subarray(4)}`);
  };
  assert.deepEqual(await ask(9), ["0 base:allocation"]);
  assert.deepEqual(await ask(9, "base:"), ["0 base:allocation"]);
  assert.deepEqual(await ask(9, "base:allocation"), ["0 base:allocation"]);
  assert.deepEqual(await ask(9, "qemu:dirty-bitmap:x"), []);
  assert.deepEqual(await ask(10), []);
  assert.deepEqual(await ask(10, "base:"), []);
  assert.deepEqual(await ask(10, "x:y", "base:allocation"), ["1 base:allocation"]);
});

test("what is not offered is refused and the negotiation goes on", async () => {
  const session = await greeted();
  const cases: [Buffer, number][] = [
    [option(5), UNSUPPORTED],
    [option(11), UNSUPPORTED],
    [option(4), UNSUPPORTED],
    [option(0xffffffff, Buffer.alloc(100)), UNSUPPORTED],
    [option(3, Buffer.from("x")), INVALID],
    [option(8, Buffer.from("x")), INVALID],
    [option(7, infoData("nobody")), UNKNOWN],
    [option(6, infoData("nobody")), UNKNOWN],
    [option(7, Buffer.alloc(3)), INVALID],
    [option(7, Buffer.concat([text("v1"), Buffer.from([0, 2, 0, 3])])), INVALID],
    [option(7, Buffer.concat([u32(0xffffffff), Buffer.alloc(8)])), INVALID],
    [option(7, infoData("x".repeat(4097))), INVALID],
    [option(7, Buffer.concat([u32(1), Buffer.from([0xff, 0, 0])])), INVALID],
    [option(9, Buffer.concat([text("v1"), u32(0xffffffff)])), INVALID],
    [option(10, Buffer.concat([text("v1"), u32(1), u32(0xffffffff)])), INVALID],
    [option(7, Buffer.alloc(65_537)), TOO_BIG],
    [option(12345, Buffer.alloc(1 << 20)), TOO_BIG],
  ];
  for (const [bytes, type] of cases) assert.deepEqual(await replyTypes(session, bytes), [type]);
  assert.deepEqual(await replyTypes(session, option(7, infoData("v1"))), [3, 3, 1]);
  assert.deepEqual(session.violations, []);
});

test("an error text that quotes a client's long name is cut (CVE-2020-10761)", async () => {
  const session = await greeted();
  const [reply] = decodeOptionReplies(await session.send(option(7, infoData("n".repeat(4096)))));
  assert.equal(reply!.type, UNKNOWN);
  assert(reply!.data.length <= 240);
});

test("hopeless lengths end the connection (CVE-2022-26495, CVE-2022-26496)", async () => {
  const hopeless = [
    option(1, Buffer.alloc(0), 0xffffffff),
    option(1, Buffer.alloc(0), 0xfffffff0),
    option(1, Buffer.alloc(0), 65_537),
    option(7, Buffer.alloc(0), 0xffffffff),
    option(6, Buffer.alloc(0), 0x80000000),
    option(3, Buffer.alloc(0), (1 << 20) + 1),
    option(1, Buffer.from("x".repeat(4097))),
    option(1, Buffer.from("nobody")),
    option(1, Buffer.from([0xc0, 0x80])),
    Buffer.from("IHAVENOT".padEnd(16)),
  ];
  for (const bytes of hopeless) {
    const session = await greeted();
    assert.equal((await session.send(bytes)).length, 0);
    assert.equal(session.violations.length, 1);
    assert.equal(session.closedCount, 1);
  }
});

test("a client that sets unknown flags, or skips fixed newstyle, is cut off", async () => {
  const unknown = new Session();
  await unknown.send(clientFlags(4));
  assert.equal(unknown.violations.length, 1);
  const old = new Session();
  await old.send(clientFlags(0), option(3));
  assert.equal(old.violations.length, 1);
});

test("too many options end the connection", async () => {
  const session = await greeted();
  await session.send(Buffer.concat(Array.from({ length: 1025 }, () => option(8))));
  assert.match(session.violations[0] ?? "", /more than 1024 options/);
});

test("ABORT is acknowledged, then the connection closes", async () => {
  const session = await greeted();
  assert.deepEqual(await replyTypes(session, option(2)), [1]);
  assert.equal(session.closedCount, 1);
  assert.deepEqual(session.violations, []);
});

test("replies that nobody takes stop the negotiation until there is room", async () => {
  const session = await greeted();
  session.stream.highWaterBytes = 100;
  session.stream.deliver(Buffer.concat(Array.from({ length: 50 }, () => option(3))));
  assert(session.stream.isPaused);
  assert(session.stream.queuedBytes < 300, "options are not answered while nobody listens");
  const replies = decodeOptionReplies(await session.settle());
  assert.equal(replies.length, 100);
  assert(!session.stream.isPaused);
});

class CountingCatalog implements ExportCatalog {
  readonly opened: string[] = [];
  readonly refusal: CodedError | undefined;
  readonly #volume = new MemoryVolume({ sizeBytes: 4096, completions: "by-test", record: true });
  readonly #info: ExportInfo = { name: "a", description: "", sizeBytes: 4096, readOnly: false };

  constructor(refusal?: CodedError) {
    this.refusal = refusal;
  }

  get volume(): MemoryVolume {
    return this.#volume;
  }

  list(): readonly ExportInfo[] {
    return [this.#info, { ...this.#info, name: "b" }];
  }

  describe(name: string): ExportInfo {
    return { ...this.#info, name: name === "" ? "a" : name };
  }

  open(name: string): MemoryVolume | CodedError {
    this.opened.push(name);
    return this.refusal ?? this.#volume;
  }
}

test("no volume is opened or touched before the negotiation ends (CVE-2019-14850)", async () => {
  const catalog = new CountingCatalog();
  const session = new Session({ catalog, volume: catalog.volume });
  await session.send(clientFlags(), option(8), option(3), option(6, infoData("a", [1, 2, 3])));
  await session.send(
    option(9, contextData("a", [])),
    option(10, contextData("a", ["base:allocation"])),
  );
  assert.deepEqual(catalog.opened, []);
  assert.equal(catalog.volume.allocatedBytes, 0);
  await session.send(option(7, infoData("")));
  assert.deepEqual(catalog.opened, ["a"]);
  assert.deepEqual(catalog.volume.calls, []);
});

test("a context set for one export is not in force on another", async () => {
  const catalog = new CountingCatalog();
  const session = new Session({ catalog, volume: catalog.volume });
  await session.send(clientFlags(), option(8));
  await session.send(option(10, contextData("a", ["base:allocation"])), option(7, infoData("b")));
  assert.equal((await session.ask({ command: 7, length: 4096 })).errno, 22);
});

test("setting contexts again forgets the earlier ones, even when it fails", async () => {
  const session = await greeted();
  await session.send(option(8), option(10, contextData("", ["base:allocation"])));
  await session.send(option(10, Buffer.alloc(1)), option(7, infoData("")));
  assert.equal((await session.ask({ command: 7, length: 4096 })).errno, 22);
});

test("a catalog's refusal keeps its kind", async () => {
  for (const [code, type] of [
    ["export-denied", POLICY],
    ["shutting-down", SHUTDOWN],
    ["volume-inaccessible", UNKNOWN],
  ] as const) {
    const catalog = new CountingCatalog(new CodedError({ code, message: "not now" }));
    const session = new Session({ catalog, volume: catalog.volume });
    const bytes = await session.send(clientFlags(), option(7, infoData("a")));
    const [reply] = decodeOptionReplies(bytes.subarray(18));
    assert.equal(reply!.type, type);
    assert.equal(reply!.data.toString(), "not now");
  }
});
