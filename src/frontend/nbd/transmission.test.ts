import assert from "node:assert/strict";
import {
  clientFlags,
  decodeReplies,
  infoData,
  option,
  request,
} from "../../../test/nbd/client-bytes.ts";
import { MemoryVolume } from "../../../test/nbd/memory-volume.ts";
import { Session, pendingReads } from "../../../test/nbd/session.ts";
import { test } from "../../../test/support/test.ts";
import type { IoFault } from "../../object/index.ts";
import { READ_MEMORY_BYTES } from "./read-memory.ts";

const READ = 0;
const WRITE = 1;
const DISC = 2;
const FLUSH = 3;
const TRIM = 4;
const CACHE = 5;
const WRITE_ZEROES = 6;
const BLOCK_STATUS = 7;
const FUA = 1;
const NO_HOLE = 2;
const DF = 4;
const REQ_ONE = 8;
const FAST_ZERO = 16;
const EPERM = 1;
const EIO = 5;
const EINVAL = 22;
const ENOSPC = 28;
const EOVERFLOW = 75;
const ESHUTDOWN = 108;
const MIB = 1 << 20;

interface Setup {
  readonly structured?: boolean;
  readonly sizeBytes?: number;
  readonly readOnly?: boolean;
}

async function ready(setup: Setup = {}): Promise<Session> {
  const volume = new MemoryVolume({
    sizeBytes: setup.sizeBytes ?? MIB,
    readOnly: setup.readOnly ?? false,
    completions: "by-test",
    record: true,
  });
  const session = new Session({ volume });
  const structured = setup.structured ?? true;
  await session.negotiate({ structured, context: structured });
  return session;
}

const noise = (length: number, seed = 1): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => ((i * 31 + (i >> 8) * 17 + seed) & 255) | 1));

test("a simple read and a write, byte by byte", async () => {
  const session = await ready({ structured: false });
  const payload = noise(512);
  const write = request({ command: WRITE, cookie: 0x0102, offset: 1024, payload });
  assert.equal(
    (await session.send(write)).toString("hex"),
    "67446698" + "00000000" + "0000000000000102",
  );
  const read = request({ command: READ, cookie: 3, offset: 1024, length: 512 });
  const answer = await session.send(read);
  const header = "67446698" + "00000000" + "0000000000000003";
  assert.equal(answer.toString("hex"), header + payload.toString("hex"));
});

test("a structured read, byte by byte", async () => {
  const session = await ready();
  const payload = noise(512);
  session.volume.bytes.set(payload, 512);
  const answer = await session.send(
    request({ command: READ, cookie: 9, offset: 512, length: 512 }),
  );
  const header = "668e33ef" + "0001" + "0001" + "0000000000000009" + "00000208";
  assert.equal(answer.toString("hex"), header + "0000000000000200" + payload.toString("hex"));
});

test("a hole, an error and a block status as chunks, byte by byte", async () => {
  const session = await ready();
  const chunk = (type: string, length: string): string =>
    "668e33ef" + "0001" + type + "0000000000000009" + length;
  const hole = await session.send(
    request({ command: READ, cookie: 9, offset: 4096, length: 8192 }),
  );
  assert.equal(hole.toString("hex"), chunk("0002", "0000000c") + "0000000000001000" + "00002000");
  const error = await session.send(request({ command: READ, cookie: 9, offset: MIB, length: 512 }));
  assert.equal(error.toString("hex"), chunk("8001", "00000006") + "00000016" + "0000");
  const status = await session.send(request({ command: BLOCK_STATUS, cookie: 9, length: 4096 }));
  assert.equal(
    status.toString("hex"),
    chunk("0005", "0000000c") + "00000001" + "00001000" + "00000003",
  );
});

test("data between holes comes in chunks that cover the read exactly", async () => {
  for (const structured of [true, false]) {
    const session = await ready({ structured });
    const expected = Buffer.alloc(64 * 4096);
    for (const block of [1, 2, 5, 40, 63]) noise(4096, block).copy(expected, block * 4096);
    session.volume.bytes.set(expected, 8192);
    for (const [first, end] of [
      [0, 64],
      [1, 3],
      [0, 2],
      [2, 5],
      [5, 64],
      [3, 5],
    ] as const) {
      const from = first * 4096;
      const length = (end - first) * 4096;
      const reply = await session.ask({ command: READ, offset: 8192 + from, length });
      assert.deepEqual(reply.data, expected.subarray(from, from + length));
    }
    const cut = await session.ask({ command: READ, offset: 8192 + 512, length: 5 * 4096 - 512 });
    assert.deepEqual(cut.data, expected.subarray(512, 5 * 4096));
  }
});

test("DF keeps a read in one chunk, up to a MiB", async () => {
  const session = await ready({ sizeBytes: 4 * MIB });
  session.volume.bytes.fill(7, 4096, 8192);
  const reply = await session.ask({ command: READ, flags: DF, length: MIB });
  assert.deepEqual(reply.chunks, [1]);
  assert.equal(reply.data?.[5000], 7);
  const tooLong = await session.ask({ command: READ, flags: DF, length: 2 * MIB });
  assert.equal(tooLong.errno, EOVERFLOW);
});

test("long reads come piece by piece, whole and in order", async () => {
  for (const structured of [true, false]) {
    const session = await ready({ structured, sizeBytes: 40 * MIB });
    for (let at = 0; at < 40 * MIB; at += 65_536) session.volume.bytes[at + 5] = (at >> 16) + 1;
    session.volume.bytes.fill(0, 8 * MIB, 12 * MIB);
    const reads = [
      { command: READ, cookie: 1, offset: 512, length: 4096 },
      { command: READ, cookie: 2, offset: 3 * MIB + 512, length: 32 * MIB },
      { command: READ, cookie: 3, offset: 0, length: MIB + 512 },
      { command: READ, cookie: 4, offset: 4096, length: 512 },
    ];
    const replies = await session.run(...reads);
    for (const { cookie, offset, length } of reads) {
      const data = replies.get(cookie)?.data;
      assert.equal(data?.length, length);
      assert(data.equals(session.volume.bytes.subarray(offset, offset + length)));
    }
    assert.equal(session.volume.allocatedBytes, READ_MEMORY_BYTES);
  }
});

test("a long read that fails in its middle is never taken for a whole one", async () => {
  const failing = async (
    structured: boolean,
    from: number,
  ): Promise<[number | undefined, number]> => {
    const session = await ready({ structured, sizeBytes: 8 * MIB });
    session.volume.fault = ({ offset }) => (offset >= from ? "io-error" : undefined);
    session.volume.bytes.fill(1);
    const fields = { command: READ, cookie: 1, length: 6 * MIB };
    const bytes = await session.send(request(fields));
    if (session.violations.length > 0) return [undefined, session.closedCount];
    return [decodeReplies(bytes, pendingReads([fields])).get(1)?.errno, session.closedCount];
  };
  assert.deepEqual(await failing(true, 0), [EIO, 0]);
  assert.deepEqual(await failing(false, 0), [EIO, 0]);
  assert.deepEqual(await failing(true, 4 * MIB), [EIO, 0]);
  assert.deepEqual(await failing(false, 4 * MIB), [undefined, 1]);
});

test("every command does what it says", async () => {
  const session = await ready();
  const at = { offset: 8192, length: 8192 };
  session.volume.bytes.fill(5);
  assert.equal((await session.ask({ command: TRIM, flags: FUA, ...at })).errno, 0);
  assert.equal((await session.ask({ command: WRITE_ZEROES, ...at })).errno, 0);
  assert.equal(
    (await session.ask({ command: WRITE_ZEROES, flags: NO_HOLE | FUA | FAST_ZERO, ...at })).errno,
    0,
  );
  assert.equal((await session.ask({ command: CACHE, ...at })).errno, 0);
  assert.equal((await session.ask({ command: FLUSH })).errno, 0);
  assert.equal((await session.ask({ command: WRITE, flags: FUA, payload: noise(512) })).errno, 0);
  assert.deepEqual(session.volume.calls, [
    { command: "discard", offset: 8192, lengthBytes: 8192 },
    { command: "writeZeroes", offset: 8192, lengthBytes: 8192, keepAllocated: false },
    { command: "writeZeroes", offset: 8192, lengthBytes: 8192, keepAllocated: true },
    { command: "flush", offset: 0, lengthBytes: 0 },
    { command: "write", offset: 0, lengthBytes: 512 },
  ]);
});

test("block status tells data, holes and allocated zeroes, with REQ_ONE the first", async () => {
  const session = await ready();
  await session.ask({ command: WRITE, offset: 4096, payload: noise(8192) });
  await session.ask({ command: WRITE_ZEROES, flags: NO_HOLE, offset: 8192, length: 4096 });
  const whole = await session.ask({ command: BLOCK_STATUS, offset: 0, length: 65_536 });
  assert.deepEqual(whole.extents, [
    [4096, 3],
    [4096, 0],
    [4096, 2],
    [53_248, 3],
  ]);
  const one = await session.ask({
    command: BLOCK_STATUS,
    flags: REQ_ONE,
    offset: 4608,
    length: 65_536,
  });
  assert.deepEqual(one.extents, [[3584, 0]]);
});

test("a block status of a torn volume is cut at a full reply", async () => {
  const session = await ready({ sizeBytes: 16 * MIB });
  for (let block = 0; block < 4096; block += 2) {
    await session.ask({ command: WRITE, offset: block * 4096, payload: noise(4096) });
  }
  const reply = await session.ask({ command: BLOCK_STATUS, length: 16 * MIB });
  assert.equal(reply.extents?.length, 512);
});

test("what the rules forbid is refused, and the volume is not touched", async () => {
  const session = await ready();
  const cases: [
    number,
    {
      command: number;
      flags?: number;
      offset?: number | bigint;
      length?: number;
      payload?: Buffer;
    },
  ][] = [
    [EINVAL, { command: 8 }],
    [EINVAL, { command: 0xffff, length: 0xffffffff }],
    [EINVAL, { command: READ, offset: 1, length: 512 }],
    [EINVAL, { command: READ, length: 511 }],
    [EINVAL, { command: READ, offset: MIB - 512, length: 1024 }],
    [EINVAL, { command: READ, length: 0xffffffff }],
    [EINVAL, { command: READ, length: 0xfffffe00 }],
    [EINVAL, { command: READ, offset: 2n ** 63n, length: 512 }],
    [EINVAL, { command: READ, offset: 2n ** 64n - 512n, length: 512 }],
    [EINVAL, { command: READ, flags: NO_HOLE, length: 512 }],
    [EINVAL, { command: READ, flags: 0x8000, length: 512 }],
    [EINVAL, { command: WRITE, flags: DF, payload: noise(512) }],
    [EINVAL, { command: WRITE, offset: 100, payload: noise(512) }],
    [EINVAL, { command: WRITE, payload: noise(100) }],
    [EINVAL, { command: WRITE, payload: Buffer.alloc(33 * MIB) }],
    [ENOSPC, { command: WRITE, offset: MIB, payload: noise(512) }],
    [ENOSPC, { command: WRITE, offset: 2n ** 63n, payload: noise(512) }],
    [ENOSPC, { command: WRITE_ZEROES, offset: MIB - 512, length: 1024 }],
    [EINVAL, { command: WRITE_ZEROES, flags: REQ_ONE, length: 512 }],
    [EINVAL, { command: WRITE_ZEROES, length: 100 }],
    [EINVAL, { command: TRIM, offset: MIB, length: 512 }],
    [EINVAL, { command: TRIM, flags: FAST_ZERO, length: 512 }],
    [EINVAL, { command: CACHE, offset: MIB, length: 512 }],
    [EINVAL, { command: CACHE, flags: DF, length: 512 }],
    [EINVAL, { command: FLUSH, length: 512 }],
    [EINVAL, { command: FLUSH, offset: 512 }],
    [EINVAL, { command: FLUSH, flags: NO_HOLE }],
    [EINVAL, { command: BLOCK_STATUS, offset: MIB, length: 512 }],
    [EINVAL, { command: BLOCK_STATUS, length: 0 }],
    [EINVAL, { command: BLOCK_STATUS, flags: NO_HOLE, length: 512 }],
  ];
  for (const [errno, fields] of cases) {
    const told = `command ${fields.command} at ${fields.offset ?? 0}, length ${fields.length}`;
    assert.equal((await session.ask(fields)).errno, errno, told);
  }
  assert.deepEqual(session.volume.calls, []);
  assert.deepEqual(session.violations, []);
});

test("what may be done elsewhere is not answered: the connection ends", async () => {
  for (const fault of ["not-owner", "unreachable"] as const) {
    for (const fields of [
      { command: READ, length: 4096 },
      { command: WRITE, payload: noise(4096) },
      { command: FLUSH },
    ]) {
      const session = await ready({ structured: true });
      session.volume.fault = () => fault;
      await assert.rejects(session.ask(fields), /exactly one reply/);
      assert.match(String(session.violations), /not served here/);
      assert.ok(session.stream.isClosed);
    }
  }
});

test("DF and block status are refused where they were not agreed on", async () => {
  const plain = await ready({ structured: false });
  assert.equal((await plain.ask({ command: BLOCK_STATUS, length: 512 })).errno, EINVAL);
  assert.equal((await plain.ask({ command: READ, flags: DF, length: 512 })).errno, EINVAL);
  const structured = new Session();
  await structured.negotiate({ structured: true });
  assert.equal((await structured.ask({ command: BLOCK_STATUS, length: 512 })).errno, EINVAL);
});

test("a request of no bytes succeeds and reaches no volume", async () => {
  for (const structured of [true, false]) {
    const session = await ready({ structured });
    for (const command of [READ, WRITE, TRIM, CACHE, WRITE_ZEROES]) {
      assert.equal((await session.ask({ command, length: 0 })).errno, 0);
    }
    assert.deepEqual(session.volume.calls, []);
  }
});

test("a read-only export refuses every change and still reads and flushes", async () => {
  const session = await ready({ readOnly: true });
  assert.equal((await session.ask({ command: WRITE, payload: noise(512) })).errno, EPERM);
  assert.equal((await session.ask({ command: TRIM, length: 512 })).errno, EPERM);
  assert.equal((await session.ask({ command: WRITE_ZEROES, length: 512 })).errno, EPERM);
  assert.equal((await session.ask({ command: READ, length: 512 })).errno, 0);
  assert.equal((await session.ask({ command: FLUSH })).errno, 0);
});

test("a volume's faults become the protocol's errors", async () => {
  const faults: [IoFault, number][] = [
    ["io-error", EIO],
    ["no-space", ENOSPC],
    ["shutting-down", ESHUTDOWN],
  ];
  for (const structured of [true, false]) {
    const session = await ready({ structured });
    for (const [fault, errno] of faults) {
      session.volume.fault = () => fault;
      for (const command of [READ, TRIM, WRITE_ZEROES]) {
        const reply = await session.ask({ command, length: 4096 });
        assert.equal(reply.errno, errno);
        assert.equal(reply.data, undefined);
      }
      assert.equal((await session.ask({ command: WRITE, payload: noise(4096) })).errno, errno);
      assert.equal((await session.ask({ command: FLUSH })).errno, errno);
    }
    session.volume.fault = () => undefined;
    assert.equal((await session.ask({ command: READ, length: 4096 })).errno, 0);
  }
});

test("one failed piece of a long write fails the write", async () => {
  const session = await ready({ sizeBytes: 4 * MIB });
  session.volume.fault = ({ offset }) => (offset >= MIB ? "no-space" : undefined);
  const bytes = request({ command: WRITE, cookie: 5, payload: noise(2 * MIB) });
  for (let at = 0; at < bytes.length; at += 60_000)
    session.stream.deliver(bytes.subarray(at, at + 60_000));
  const replies = decodeReplies(await session.settle(), new Map());
  assert.equal(replies.get(5)?.errno, ENOSPC);
});

test("more requests than there are slots wait in the socket, and all are answered", async () => {
  const session = await ready();
  session.volume.bytes.fill(3);
  const fields = Array.from({ length: 1000 }, (_, cookie) => ({
    command: READ,
    cookie,
    offset: (cookie % 256) * 4096,
    length: 4096,
  }));
  session.stream.deliver(Buffer.concat(fields.map(request)));
  assert(session.stream.isPaused);
  assert.equal(session.volume.waitingCount, 256);
  const replies = decodeReplies(await session.settle(), pendingReads(fields));
  assert.equal(replies.size, 1000);
  assert(!session.stream.isPaused);
});

test("a client that takes no replies holds a bounded amount of memory", async () => {
  const session = await ready();
  session.volume.bytes.fill(3);
  const fields = Array.from({ length: 100 }, (_, cookie) => ({
    command: READ,
    cookie,
    length: MIB,
  }));
  session.stream.deliver(Buffer.concat(fields.map(request)));
  assert(session.stream.isPaused);
  assert(session.volume.waitingCount < 10);
  assert.equal(session.volume.allocatedBytes, READ_MEMORY_BYTES);
  const replies = decodeReplies(await session.settle(), pendingReads(fields));
  assert.equal(replies.size, 100);
});

test("writes wait while the volume has no room", async () => {
  const session = await ready();
  session.volume.fillUp();
  const write = request({ command: WRITE, cookie: 1, payload: noise(4096) });
  const read = request({ command: READ, cookie: 2, length: 512 });
  assert.equal((await session.send(Buffer.concat([write, read]))).length, 0);
  assert(session.stream.isPaused);
  assert.deepEqual(session.volume.calls, []);
  session.volume.makeRoom();
  const replies = decodeReplies(await session.settle(), new Map([[2, { offset: 0, length: 512 }]]));
  assert.equal(replies.size, 2);
});

test("writes in flight are bounded in bytes", async () => {
  const session = await ready({ sizeBytes: 32 * MIB });
  const writes = Array.from({ length: 5 }, (_, cookie) =>
    request({
      command: WRITE,
      cookie,
      offset: cookie * 4 * MIB,
      payload: Buffer.alloc(4 * MIB, 1),
    }),
  );
  session.stream.deliver(Buffer.concat(writes));
  assert(session.stream.isPaused);
  assert.equal(session.volume.calls.length, 4);
  assert.equal(decodeReplies(await session.settle(), new Map()).size, 5);
});

test("requests of one chunk are one batch, and their short replies one piece", async () => {
  const session = await ready();
  const writes = Array.from({ length: 20 }, (_, cookie) =>
    request({ command: WRITE, cookie, payload: noise(512) }),
  );
  session.stream.deliver(Buffer.concat(writes));
  assert.equal(session.volume.submits, 1);
  for (let i = 0; i < 20; i++) session.volume.deliver(() => 0);
  assert.equal(session.stream.queuedBytes, 0);
  await Promise.resolve();
  assert.equal(session.stream.queuedBytes, 20 * 16);
});

test("DISC answers what is under way, then closes; what follows it is ignored", async () => {
  const session = await ready();
  const read = { command: READ, cookie: 1, length: 512 };
  const late = request({ command: WRITE, cookie: 2, payload: noise(512) });
  const disc = request({ command: DISC, cookie: 0 });
  const bytes = await session.send(Buffer.concat([request(read), disc, late]));
  assert.deepEqual([...decodeReplies(bytes, pendingReads([read])).keys()], [1]);
  assert.equal(session.closedCount, 1);
  assert.equal(session.volume.calls.length, 1);
});

test("the end of the client's input answers what is under way, then closes", async () => {
  const session = await ready();
  session.stream.deliver(request({ command: WRITE, cookie: 1, payload: noise(512) }));
  session.stream.deliverEnd();
  assert.equal(decodeReplies(await session.settle(), new Map()).size, 1);
  assert.equal(session.closedCount, 1);
});

test("a hopeless length, or bytes that are no request, end the connection", async () => {
  for (const bytes of [
    request({ command: WRITE, cookie: 1, length: 0xffffffff }),
    Buffer.alloc(28, 0xff),
    clientFlags().fill(1).subarray(0, 4),
  ]) {
    const session = await ready();
    await session.send(bytes);
    if (bytes.length < 28) await session.send(Buffer.alloc(24));
    assert.equal(session.violations.length, 1);
    assert.equal(session.closedCount, 1);
    assert.deepEqual(session.volume.calls, []);
  }
});

test("memory of a broken connection is used again once the volume lets go of it", async () => {
  const session = await ready();
  session.stream.deliver(request({ command: READ, cookie: 1, length: 4096 }));
  session.stream.destroy();
  await Promise.resolve();
  assert.equal(session.closedCount, 1);
  const other = session.memory.take(session.volume);
  assert.equal(session.volume.allocatedBytes, 2 * READ_MEMORY_BYTES, "not handed out while in use");
  session.volume.deliver(() => 0);
  assert.notEqual(session.memory.take(session.volume), other);
  assert.equal(session.volume.allocatedBytes, 2 * READ_MEMORY_BYTES);
});

test("a shutdown answers what is under way and refuses what comes later", async () => {
  const session = await ready();
  session.stream.deliver(request({ command: WRITE, cookie: 1, payload: noise(512) }));
  session.connection.shutDown();
  session.stream.deliver(request({ command: WRITE, cookie: 2, payload: noise(512) }));
  const replies = decodeReplies(await session.settle(), new Map());
  assert.equal(replies.get(1)?.errno, 0);
  assert.equal(replies.get(2)?.errno, ESHUTDOWN);
  assert.equal(session.closedCount, 1);
});

test("a volume that grew is served to its new end", async () => {
  const session = new Session();
  await session.send(clientFlags(), option(7, infoData("")));
  session.volume.sizeBytes = 4096;
  assert.equal((await session.ask({ command: READ, offset: 4096, length: 512 })).errno, EINVAL);
  session.volume.sizeBytes = 8192;
  assert.equal((await session.ask({ command: READ, offset: 4096, length: 512 })).errno, 0);
});
