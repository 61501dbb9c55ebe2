import assert from "node:assert/strict";
import {
  clientFlags,
  contextData,
  decodeOptionReplies,
  infoData,
  option,
} from "../../../test/nbd/client-bytes.ts";
import { Session } from "../../../test/nbd/session.ts";
import { test } from "../../../test/support/test.ts";
import type { ExportCatalog, NbdClient } from "./export-catalog.ts";
import { SingleExport } from "./single-export.ts";

const START_TLS = option(5);
const ACK = 1;
const INVALID = 0x80000003;
const TLS_REQUIRED = 0x80000005;

async function greeted(catalog?: ExportCatalog): Promise<Session> {
  const session = new Session({ requiresTls: true, ...(catalog && { catalog }) });
  await session.send(clientFlags());
  return session;
}

async function secured(session: Session): Promise<void> {
  assert.deepEqual(await types(session, START_TLS), [ACK]);
  assert(session.stream.isSecuring, "TLS begins once the answer has left");
  session.stream.secured("anna");
}

async function types(session: Session, ...options: Buffer[]): Promise<number[]> {
  return decodeOptionReplies(await session.send(...options)).map(({ type }) => type);
}

test("before TLS every option but STARTTLS and ABORT is refused", async () => {
  const session = await greeted();
  const before = [2, 5];
  for (const kind of [3, 4, 6, 7, 8, 9, 10, 11, 77]) {
    assert(!before.includes(kind));
    assert.deepEqual(await types(session, option(kind, infoData("v1"))), [TLS_REQUIRED], `${kind}`);
  }
  const long = option(7, Buffer.alloc(70_000));
  assert.deepEqual(await types(session, long), [TLS_REQUIRED]);
  assert.deepEqual(session.violations, []);
  assert.deepEqual(await types(session, option(2)), [ACK]);
  assert(session.stream.isClosed);
});

test("the old way in ends the connection before TLS, and no volume is opened", async () => {
  const session = await greeted();
  await session.send(option(1, Buffer.from("v1")));
  assert.deepEqual(session.violations, ["the client asked for no TLS"]);
  assert(session.stream.isClosed);
  assert.equal(session.connection.exportName, undefined);
});

test("after TLS the client is known to the catalog, and goes on", async () => {
  const seen: NbdClient[] = [];
  const volume = new Session().volume;
  const single = new SingleExport(volume, "a test");
  const catalog: ExportCatalog = {
    list: (client) => single.list(client),
    describe: (name, client) => {
      seen.push(client);
      return single.describe(name, client);
    },
    open: (name, client) => single.open(name, client),
  };
  const session = await greeted(catalog);
  await secured(session);
  assert.deepEqual(await types(session, START_TLS), [INVALID]);
  const answer = await types(session, option(7, infoData("v1")));
  assert.equal(answer.at(-1), ACK);
  assert.deepEqual(seen, [{ remote: "test", name: "anna" }]);
  assert.equal(session.connection.clientName, "anna");
});

test("what is sent along with STARTTLS is never read (CVE-2021-3716)", async () => {
  for (const planted of [option(8), option(7, infoData("v1")), Buffer.from("x")]) {
    const session = await greeted();
    const answer = await session.send(Buffer.concat([START_TLS, planted]));
    assert.deepEqual(session.violations, ["bytes followed STARTTLS before it was answered"]);
    assert(session.stream.isClosed && !session.stream.isSecuring);
    assert.equal(answer.length, 0);
  }
});

test("bytes that come before TLS is on end the connection", async () => {
  const session = await greeted();
  session.stream.deliver(START_TLS);
  session.stream.isPaused = false;
  session.stream.deliver(option(8));
  await session.settle();
  assert.deepEqual(session.violations, ["bytes came before TLS was on"]);
});

test("a client that sends no more bytes while TLS begins is let go", async () => {
  const session = await greeted();
  await session.send(START_TLS);
  session.stream.deliverEnd();
  await session.settle();
  assert.equal(session.closedCount, 1);
});

test("STARTTLS carries no data, and is not there where nobody needs it", async () => {
  const session = await greeted();
  assert.deepEqual(await types(session, option(5, Buffer.from("x"))), [INVALID]);
  const plain = new Session();
  await plain.send(clientFlags());
  assert.deepEqual(await types(plain, START_TLS), [0x80000001]);
  assert(!plain.stream.isSecuring);
});

test("structured replies and contexts have to be agreed on under TLS", async () => {
  const session = await greeted();
  await session.send(option(8), option(10, contextData("v1", ["base:allocation"])));
  await secured(session);
  const contexts = option(10, contextData("v1", ["base:allocation"]));
  assert.deepEqual(await types(session, contexts), [INVALID]);
  const [info] = decodeOptionReplies(await session.send(option(6, infoData("v1"))));
  assert.equal(info!.data.readUInt16BE(10) & 0x80, 0, "DF is offered with structured replies");
});
