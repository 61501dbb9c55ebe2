import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Guest } from "../../../test/vhost-user/queue-guest.ts";
import { GUEST_ADDRESS } from "../../../test/vhost-user/queue-world.ts";
import type { WorldOptions } from "../../../test/vhost-user/queue-world.ts";
import type { GuestBuffer } from "../../../test/vhost-user/model-driver.ts";
import { ShortPoll } from "./short-poll.ts";

const READ = 0;
const WRITE = 1;
const FLUSH = 4;
const GET_ID = 8;
const DISCARD = 11;
const WRITE_ZEROES = 13;
const OK = 0;
const IO_ERROR = 1;
const UNSUPPORTED = 2;
const UNTOUCHED = 0xff;

/** The cases of QEMU's own test of its back end, with the answers that it expects. */
describe("as QEMU's vhost-user-blk test has it:", () => {
  for (const indirect of [false, true]) {
    test(`what is written is read${indirect ? ", with indirect descriptors" : ""}`, async () => {
      const guest = new Guest();
      const data = guest.buffer(512, false);
      guest.bytesOf(data).set(new TextEncoder().encode("TEST"));
      assert.equal(await guest.ask(WRITE, 0, [data], indirect), OK);
      const read = guest.buffer(512, true, 0xee);
      assert.equal(await guest.ask(READ, 0, [read], indirect), OK);
      assert.deepEqual(guest.bytesOf(read), guest.bytesOf(data));
    });
  }

  test("head and data, and data and status, may share a buffer", async () => {
    const guest = new Guest();
    const at = guest.place(528);
    const head = guest.head(WRITE, 1);
    guest.bytes.set(guest.bytesOf(head), at);
    guest.bytes.fill(0x5a, at + 16, at + 528);
    const written = { address: GUEST_ADDRESS + at, lengthBytes: 528, deviceWrites: false };
    const status = guest.buffer(1, true, UNTOUCHED);
    guest.driver.offer(guest.driver.describe([written, status]));
    await guest.run();
    assert.equal(guest.bytesOf(status)[0], OK);
    const read = guest.buffer(513, true, UNTOUCHED);
    guest.driver.offer(guest.driver.describe([guest.head(READ, 1), read]));
    await guest.run();
    assert.ok(
      guest
        .bytesOf(read)
        .subarray(0, 512)
        .every((byte) => byte === 0x5a),
    );
    assert.equal(guest.bytesOf(read)[512], OK);
  });

  test("a sector that was zeroed reads as zeroes", async () => {
    for (const flags of [0, 1]) {
      const guest = new Guest();
      guest.volume.bytes.fill(0x11);
      assert.equal(await guest.ask(WRITE_ZEROES, 0, [guest.range(0, 1, flags)]), OK);
      assert.ok((await guest.read(0, 512)).every((byte) => byte === 0));
      assert.ok((await guest.read(1, 512)).every((byte) => byte === 0x11));
    }
  });

  test("a sector may be discarded", async () => {
    const guest = new Guest();
    assert.equal(await guest.ask(DISCARD, 0, [guest.range(0, 1, 0)]), OK);
  });

  for (const [name, type] of [
    ["discard", DISCARD],
    ["write-zeroes", WRITE_ZEROES],
  ] as const) {
    test(`an invalid ${name} is refused`, async () => {
      const guest = new Guest();
      const ask = (...ranges: readonly GuestBuffer[]): Promise<number> =>
        guest.ask(type, 0, ranges);
      const sectors = guest.volume.sizeBytes / 512;
      assert.equal(await ask(guest.range(0, 1, 0), guest.range(1, 1, 0)), UNSUPPORTED);
      assert.equal(await ask(guest.range(0, 0xffffffff, 0)), IO_ERROR);
      assert.equal(await ask(guest.range(sectors + 1, 1, 0)), IO_ERROR);
      assert.equal(await ask(guest.range(0, 1, 0xfffffffe)), UNSUPPORTED);
      assert.equal(await ask(guest.buffer(8, false)), IO_ERROR);
      assert.equal(guest.violation, undefined);
    });
  }
});

test("a discard must not carry the flag of write-zeroes", async () => {
  const guest = new Guest();
  assert.equal(await guest.ask(DISCARD, 0, [guest.range(0, 1, 1)]), UNSUPPORTED);
});

test("write-zeroes keeps its range allocated unless the guest allows otherwise", async () => {
  const guest = new Guest({ volume: { record: true } });
  await guest.ask(WRITE_ZEROES, 0, [guest.range(0, 8, 0)]);
  await guest.ask(WRITE_ZEROES, 0, [guest.range(0, 8, 1)]);
  const kept = guest.volume.calls.map(({ keepAllocated }) => keepAllocated);
  assert.deepEqual(kept, [true, false]);
});

test("ranges beyond the end, and parts of sectors, are refused", async () => {
  const guest = new Guest();
  const last = guest.volume.sizeBytes / 512 - 1;
  for (const type of [READ, WRITE]) {
    const data = (lengthBytes: number): GuestBuffer[] => [
      guest.buffer(lengthBytes, type === READ, 0xee),
    ];
    assert.equal(await guest.ask(type, last, data(512)), OK);
    assert.equal(await guest.ask(type, last, data(1024)), IO_ERROR);
    assert.equal(await guest.ask(type, last + 1, data(512)), IO_ERROR);
    assert.equal(await guest.ask(type, 2 ** 52, data(512)), IO_ERROR);
    assert.equal(await guest.ask(type, 0, data(511)), IO_ERROR);
  }
});

test("a read-only volume takes reads alone", async () => {
  const guest = new Guest({ volume: { readOnly: true } });
  assert.equal(await guest.ask(READ, 0, [guest.buffer(512, true)]), OK);
  assert.equal(await guest.ask(WRITE, 0, [guest.buffer(512, false)]), IO_ERROR);
  assert.equal(await guest.ask(DISCARD, 0, [guest.range(0, 1, 0)]), IO_ERROR);
  assert.equal(await guest.ask(WRITE_ZEROES, 0, [guest.range(0, 1, 0)]), IO_ERROR);
  assert.equal(await guest.ask(FLUSH, 0), OK);
});

test("the serial number is what the volume was attached with", async () => {
  const guest = new Guest();
  const id = guest.buffer(20, true, 0xee);
  assert.equal(await guest.ask(GET_ID, 0, [id]), OK);
  assert.equal(new TextDecoder().decode(guest.bytesOf(id)), "serial-1".padEnd(20, "\0"));
});

test("requests that nobody knows are unsupported", async () => {
  assert.equal(await new Guest().ask(99, 0), UNSUPPORTED);
});

test("a fault of the volume is an error of the request, and the queue goes on", async () => {
  const guest = new Guest();
  guest.volume.fault = () => "io-error";
  const data = guest.buffer(512, true, 0x77);
  assert.equal(await guest.ask(READ, 0, [data]), IO_ERROR);
  guest.volume.fault = () => undefined;
  assert.equal(await guest.ask(READ, 0, [data]), OK);
});

test("a volume that has moved leaves its requests to whoever takes them over", async () => {
  const guest = new Guest();
  guest.volume.fault = () => "not-owner";
  assert.equal(await guest.ask(READ, 0, [guest.buffer(512, true)]), UNTOUCHED);
  assert.deepEqual(guest.driver.collect(), []);
  assert.ok(guest.isDrained);
});

test("a request without head or status breaks the queue", async () => {
  for (const buffers of [
    [{ address: GUEST_ADDRESS, lengthBytes: 15, deviceWrites: false }],
    [{ address: GUEST_ADDRESS, lengthBytes: 16, deviceWrites: false }],
    [{ address: GUEST_ADDRESS, lengthBytes: 16, deviceWrites: true }],
  ]) {
    const guest = new Guest();
    guest.driver.offer(guest.driver.describe(buffers));
    await guest.run();
    assert.match(guest.violation?.message ?? "", /shorter than its head|no room for its status/);
    assert.ok(guest.isDrained);
  }
});

test("what was taken in the turn that broke the queue is answered by the volume all the same", async () => {
  const guest = new Guest();
  const { driver } = guest;
  const good = [guest.head(WRITE, 0), guest.buffer(512, false), guest.buffer(1, true)];
  driver.offer(driver.describe(good));
  driver.offer(driver.describe([{ address: GUEST_ADDRESS, lengthBytes: 15, deviceWrites: false }]));
  await guest.run();
  assert.match(guest.violation?.message ?? "", /shorter than its head/);
  assert.ok(guest.isDrained, "nobody may connect again before");
});

const LARGE: WorldOptions = {
  memoryBytes: 24 << 20,
  sectionBytes: 1 << 20,
  sectionsMax: 8,
  volume: { sizeBytes: 24 << 20 },
};

test("requests longer than all memory for them are carried out piece by piece", async () => {
  const guest = new Guest(LARGE);
  const lengthBytes = 11 << 20;
  const data = guest.buffer(lengthBytes, false);
  const bytes = guest.bytesOf(data);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31) >>> 5;
  const expected = Buffer.from(bytes);
  assert.equal(await guest.ask(WRITE, 3, [data]), OK);
  assert.equal(Buffer.compare(guest.volume.bytes.subarray(1536, 1536 + lengthBytes), expected), 0);
  bytes.fill(0);
  assert.equal(await guest.ask(READ, 3, [{ ...data, deviceWrites: true }]), OK);
  assert.equal(Buffer.compare(bytes, expected), 0);
  assert.ok(guest.guardIsWhole);
});

test("pages of the guest are read into without a copy, other buffers through memory of ours", async () => {
  const guest = new Guest({ memoryBytes: 4 << 20, sectionBytes: 16 << 10, sectionsMax: 64 });
  guest.volume.bytes.forEach((_, i, bytes) => {
    bytes[i] = (i * 13) >>> 4;
  });
  const page = 4096;
  const at = Math.ceil(guest.place(65 * page) / page) * page;
  const piece = (from: number, lengthBytes: number): GuestBuffer => {
    return { address: GUEST_ADDRESS + at + from, lengthBytes, deviceWrites: true };
  };
  const cases: readonly (readonly [readonly GuestBuffer[], boolean])[] = [
    [[piece(0, page)], true],
    [[piece(0, 512)], true],
    [[piece(3 * page, 9 * page)], true],
    [[piece(8 * page, page), piece(2 * page, 2 * page), piece(20 * page, 1024)], true],
    [[piece(512, page)], false],
    [[piece(0, 512), piece(page, page)], false],
    [[piece(0, page + 512), piece(4 * page, 512)], false],
  ];
  for (const [buffers, isDirect] of cases) {
    for (const buffer of buffers) guest.bytesOf(buffer).fill(0);
    const before = guest.sections.stats;
    assert.equal(await guest.ask(READ, 8, buffers), OK);
    const read = Buffer.concat(buffers.map((buffer) => guest.bytesOf(buffer)));
    const expected = guest.volume.bytes.subarray(page, page + read.length);
    assert.equal(Buffer.compare(read, expected), 0);
    const { copiedBytesTotal, directBytesTotal } = guest.sections.stats;
    assert.equal(directBytesTotal - before.directBytesTotal, isDirect ? read.length : 0);
    // Head and status are copied in any case.
    const copiedBytes = copiedBytesTotal - before.copiedBytesTotal;
    assert.equal(copiedBytes, 16 + 1 + (isDirect ? 0 : read.length));
  }
  assert.ok(guest.guardIsWhole);
});

test("what is in memory is read within the call, pinned by nobody, and marked as written", async () => {
  const guest = new Guest({
    ...{ memoryBytes: 4 << 20, sectionBytes: 4 << 20, sectionsMax: 2 },
    volume: { record: true },
  });
  const page = 4096;
  guest.volume.bytes.fill(3, 0, 64 * page);
  guest.volume.isCached = (offset) => offset < 4 * page;
  const at = Math.ceil(guest.place(65 * page) / page) * page;
  const buffer: GuestBuffer = {
    address: GUEST_ADDRESS + at,
    lengthBytes: 3 * page,
    deviceWrites: true,
  };
  const written: number[] = [];
  guest.guest.onWritten = (_address, lengthBytes) => written.push(lengthBytes);
  assert.equal(await guest.ask(READ, 0, [buffer]), OK);
  assert.deepEqual(guest.volume.calls, []);
  assert.ok(guest.bytesOf(buffer).every((byte) => byte === 3));
  assert.equal(
    written.reduce((sum, lengthBytes) => sum + lengthBytes, 0),
    3 * page + 1,
  );
  // Its second half is elsewhere: the volume is asked for it.
  assert.equal(await guest.ask(READ, 8 * 3, [{ ...buffer, lengthBytes: page }, buffer]), OK);
  assert.deepEqual(
    guest.volume.calls.map(({ offset }) => offset),
    [4 * page],
  );
  assert.ok(guest.guardIsWhole);
});

test("when too many sections are pinned, reads go through memory of ours", async () => {
  const guest = new Guest({
    memoryBytes: 1 << 20,
    sectionBytes: 4096,
    sectionsMax: 8,
    volume: { completions: "by-test" },
  });
  const at = Math.ceil(guest.place(40 * 4096) / 4096) * 4096;
  const statuses: GuestBuffer[] = [];
  for (let i = 0; i < 5; i++) {
    const status = guest.buffer(1, true, UNTOUCHED);
    const data = { address: GUEST_ADDRESS + at + 8192 * i, lengthBytes: 4096, deviceWrites: true };
    guest.driver.offer(guest.driver.describe([guest.head(READ, 0), data, status]));
    statuses.push(status);
  }
  await guest.run();
  assert.equal(guest.volume.waitingCount, 5);
  while (guest.volume.waitingCount > 0) guest.volume.deliver((count) => count - 1);
  await guest.settle();
  assert.deepEqual(
    statuses.map((status) => guest.bytesOf(status)[0]),
    [OK, OK, OK, OK, OK],
  );
  assert.equal(guest.sections.stats.directBytesTotal, 4 * 4096);
});

test("a volume without room makes writes wait, and nothing else is taken meanwhile", async () => {
  const guest = new Guest();
  guest.volume.fillUp();
  const write = guest.buffer(512, false, 0x21);
  assert.equal(await guest.ask(WRITE, 0, [write]), UNTOUCHED);
  assert.equal(await guest.ask(READ, 0, [guest.buffer(512, true)]), UNTOUCHED);
  guest.volume.makeRoom();
  await guest.settle();
  assert.equal(guest.driver.collect().length, 2);
  assert.equal(guest.volume.bytes[0], 0x21);
});

test("a queue stops when everything taken is answered, and tells the next entry", async () => {
  const guest = new Guest({ volume: { completions: "by-test" } });
  assert.equal(await guest.ask(READ, 0, [guest.buffer(512, true)]), UNTOUCHED);
  let base: number | undefined;
  guest.disk.stop((next) => {
    base = next;
  });
  const late = guest.ask(READ, 0, [guest.buffer(512, true)]);
  assert.equal(await late, UNTOUCHED);
  assert.equal(base, undefined);
  guest.volume.deliver(() => 0);
  await guest.settle();
  assert.equal(base, 1);
  assert.equal(guest.driver.collect().length, 1, "the second was left to who starts the queue");
});

test("answers of one turn wake the driver once", async () => {
  const guest = new Guest();
  const heads = Array.from({ length: 4 }, () =>
    guest.driver.describe([
      guest.head(READ, 0),
      guest.buffer(512, true),
      guest.buffer(1, true, UNTOUCHED),
    ]),
  );
  guest.driver.offer(...heads);
  await guest.run();
  assert.equal(guest.driver.collect().length, 4);
  assert.equal(guest.call.signals, 1);
});

test("a driver that asks again while it is looked for is answered without a kick", async () => {
  const glances = { count: 0 };
  let askAgain = (): void => undefined;
  const clock = {
    nowMs: () => {
      if (++glances.count % 4 === 0) askAgain();
      return glances.count * 0.001;
    },
  };
  const guest = new Guest({
    shortPoll: new ShortPoll(clock),
    eventIndex: true,
    memoryBytes: 1 << 20,
  });
  guest.volume.isCached = () => true;
  const page = Math.ceil(guest.place(64 * 4096) / 4096) * 4096;
  const data = { address: GUEST_ADDRESS + page, lengthBytes: 4096, deviceWrites: true };
  // Looked for in vain once: the next turn does not look.
  for (let i = 0; i < 2; i++) assert.equal(await guest.ask(READ, 0, [data]), OK);
  const statuses: GuestBuffer[] = [];
  askAgain = () => {
    if (statuses.length === 5) return;
    guest.driver.collect();
    const status = guest.buffer(1, true, UNTOUCHED);
    statuses.push(status);
    guest.driver.offer(guest.driver.describe([guest.head(READ, 8), data, status]));
  };
  assert.equal(await guest.ask(READ, 0, [data]), OK);
  assert.equal(statuses.length, 5);
  for (const status of statuses) assert.equal(guest.bytesOf(status)[0], OK);
});
