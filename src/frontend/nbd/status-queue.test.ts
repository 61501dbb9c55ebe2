import assert from "node:assert/strict";
import { decodeReplies, request } from "../../../test/nbd/client-bytes.ts";
import { Session, pendingReads } from "../../../test/nbd/session.ts";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import type { Extent } from "../../object/index.ts";
import { READ_MEMORY_BYTES } from "./read-memory.ts";

const READ = 0;
const BLOCK_STATUS = 7;
const EIO = 5;

interface Asked {
  readonly offset: number;
  answer(extents: readonly Extent[]): void;
  fail(error: Error): void;
}

/** A session whose volume tells extents when the test says so. */
async function asking(): Promise<{ readonly session: Session; readonly asked: Asked[] }> {
  const session = new Session();
  const asked: Asked[] = [];
  session.volume.extents = (offset) =>
    new Promise((answer, fail) => void asked.push({ offset, answer, fail }));
  await session.negotiate({ structured: true, context: true });
  return { session, asked };
}

const status = (cookie: number): Buffer =>
  request({ command: BLOCK_STATUS, cookie, offset: cookie * 4096, length: 4096 });
const hole = ({ offset }: Asked): Extent => ({ kind: "hole", offset, lengthBytes: 4096 });

test("a connection has one block status under way, and reads do not wait for the others", async () => {
  const { session, asked } = await asking();
  const read = { command: READ, cookie: 9, length: 512 };
  const early = await session.send(...[1, 2, 3].map(status), request(read));
  assert.deepEqual([...decodeReplies(early, pendingReads([read])).keys()], [9]);
  for (const [index, cookie] of [1, 2, 3].entries()) {
    assert.equal(asked.length, index + 1);
    asked[index]!.answer([hole(asked[index]!)]);
    const replies = decodeReplies(await session.settle(), new Map());
    assert.deepEqual([...replies.keys()], [cookie]);
    assert.deepEqual(replies.get(cookie)?.extents, [[4096, 3]]);
  }
});

test("a block status that fails is answered, and the next one is looked at", async () => {
  const { session, asked } = await asking();
  await session.send(status(1), status(2));
  asked[0]!.fail(new CodedError({ code: "unreachable", message: "no copy" }));
  const first = decodeReplies(await session.settle(), new Map());
  assert.equal(first.get(1)?.errno, EIO);
  asked[1]!.answer([hole(asked[1]!)]);
  const second = decodeReplies(await session.settle(), new Map());
  assert.equal(second.get(2)?.errno, 0);
  assert.deepEqual(session.violations, []);
});

for (const [name, end] of [
  ["that tells no extents", (one: Asked): void => one.answer([])],
  ["that throws", (one: Asked): void => one.fail(new TypeError("a bug"))],
] as const) {
  test(`a volume ${name} ends the connection that asked, with the stack in the log`, async () => {
    const { session, asked } = await asking();
    await session.send(status(1), status(2));
    end(asked[0]!);
    await session.settle();
    assert.ok(session.stream.isClosed);
    assert.equal(session.violations.length, 1);
    assert.match(session.violations[0]!, /a bug: [\s\S]*\n\s+at /);
    assert.equal(asked.length, 1, "nobody waits for the second one any more");
  });
}

test("memory is given back after the block status that is under way, whoever has gone", async () => {
  const { session, asked } = await asking();
  await session.send(status(1), status(2));
  session.connection.destroy();
  await session.settle();
  const { memory, volume } = session;
  const used = memory.take(volume);
  asked[0]!.answer([]);
  await session.settle();
  assert.notEqual(memory.take(volume), used);
  assert.equal(volume.allocatedBytes, 2 * READ_MEMORY_BYTES, "the first one is used again");
  assert.equal(asked.length, 1);
});
