/**
 * Golden bytes: what is on disks out there must stay readable. A change here is a new format
 * version.
 */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { crc32c, toHex } from "../base/index.ts";
import {
  badBlockKey,
  checkpointKey,
  componentKey,
  contentKey,
  decodeRecord,
  encodeRecord,
  encodeSuperblock,
  FRAME_PAYLOAD_BLOCKS_MAX,
  frameFits,
  keyAfterPrefix,
  layout,
  logicalKey,
  newRecordHeader,
  NOT_PLACED,
  readFrameHeader,
  readSuperblock,
  regionsKey,
  sealFrame,
  sealValue,
  spaceKey,
  valueIsIntact,
} from "./index.ts";
import { u32 } from "./layout.ts";

const superblock = {
  deviceId: "00112233445566778899aabbccddeeff",
  clusterId: "c1".repeat(16),
  hostId: "40".repeat(16),
  sizeBytes: 1 << 30,
  journalOffset: 1 << 20,
  segmentBytes: 4 << 20,
  segmentCount: 16,
  blocksOffset: 65 << 20,
  blockCount: 1000,
  createdMs: 1_790_000_000_000,
};

test("a superblock has the bytes it always had", () => {
  const bytes = new Uint8Array(4096);
  encodeSuperblock(superblock, bytes);
  assert.equal(
    toHex(bytes.subarray(0, 112)),
    "44525953544f4e45010000000e18de4400112233445566778899aabbccddeeff" +
      "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c140404040404040404040404040404040" +
      "000000400000000000001000000000000000400010000000" +
      "0000100400000000e803000000000000" +
      "006c50c4a0010000",
  );
  const reading = readSuperblock(bytes);
  assert.equal(reading.kind, "valid");
  assert.deepEqual(reading.kind === "valid" && reading.superblock, superblock);
});

test("a superblock with any flipped bit is not valid", () => {
  const bytes = new Uint8Array(4096);
  encodeSuperblock(superblock, bytes);
  for (let bit = 0; bit < 4096 * 8; bit += 7) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.notEqual(readSuperblock(bytes).kind, "valid", `bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test("a journal frame and its records have the bytes they always had", () => {
  const bytes = new Uint8Array(4096);
  const record = {
    component: 3,
    kind: 1,
    payloadIndex: 0,
    epoch: 7,
    sequence: 2 ** 33 + 1,
    blockIndex: 2 ** 32 + 5,
    blockCount: 2,
    committed: 41,
    place: NOT_PLACED,
  };
  encodeRecord(record, bytes, 64);
  const header = {
    recordCount: 1,
    payloadBlocks: 2,
    placedBlocks: 0,
    frameNumber: 9,
    generation: 4,
    durableFrame: 8,
    incarnation: 2,
  };
  sealFrame(bytes, 0, { ...header, deviceTag: 0xdeadbeef }, crc32c);
  assert.equal(
    toHex(bytes.subarray(0, 128)),
    "8c1bc7d95952444a010001000200000009000000000000000400000000000000" +
      "08000000000000000200000000000000efbeadde000000000000000000000000" +
      "0300000001000000070000000000010000000200050000000100000002000000" +
      "0029000000000000000000000000000000000000000000000000000000000000",
  );
  assert.deepEqual(readFrameHeader(bytes, 0, 0xdeadbeef, crc32c), header);
  assert.equal(readFrameHeader(bytes, 0, 0xdeadbeee, crc32c), undefined, "another device");
  const back = newRecordHeader();
  decodeRecord(bytes, 64, back);
  assert.deepEqual(back, record);
  bytes[100]! ^= 1;
  assert.equal(readFrameHeader(bytes, 0, 0xdeadbeef, crc32c), undefined, "a flipped bit");
});

test("a record whose payload lies in the block store says where", () => {
  const bytes = new Uint8Array(4096);
  const record = { ...newRecordHeader(), component: 3, kind: 1, sequence: 5, blockCount: 32 };
  record.place = 2 ** 33 + 1;
  encodeRecord(record, bytes, 64);
  const counts = { recordCount: 1, payloadBlocks: 0, placedBlocks: 32 };
  const header = { ...counts, frameNumber: 9, generation: 4, durableFrame: 8, incarnation: 2 };
  sealFrame(bytes, 0, { ...header, deviceTag: 1 }, crc32c);
  assert.equal(
    toHex(bytes.subarray(52, 128)),
    "200000000000000000000000" +
      "0300000001000000000000000000050000000000000000000000000020000000" +
      "0000000000000002000000020000000000000000000000000000000000000000",
  );
  assert.deepEqual(readFrameHeader(bytes, 0, 1, crc32c), header);
  const back = newRecordHeader();
  decodeRecord(bytes, 64, back);
  assert.deepEqual(back, record);
});

test("a head block holds one record with the largest payload, or many small ones", () => {
  assert(frameFits(1, FRAME_PAYLOAD_BLOCKS_MAX, 0));
  assert(!frameFits(1, FRAME_PAYLOAD_BLOCKS_MAX + 1, 0));
  assert(frameFits(59, 59, 0));
  assert(!frameFits(60, 60, 0));
  assert(frameFits(20, 0, 640));
  assert(!frameFits(20, 0, 700));
});

test("keys of the metadata store have the bytes they always had, in natural order", () => {
  assert.equal(toHex(checkpointKey()), "43");
  assert.equal(toHex(componentKey(258)), "4b00000102");
  assert.equal(toHex(logicalKey(1, 0x01020304)), "4c0000000101020304");
  assert.equal(toHex(regionsKey(1, 2)), "520000000100000002");
  assert.equal(toHex(contentKey(new Uint8Array(16).fill(9), 0)), `46${"09".repeat(16)}`);
  assert.equal(toHex(spaceKey(3)), "5300000003");
  assert.equal(toHex(badBlockKey(2 ** 33)), "42000200000000");
  assert.equal(toHex(keyAfterPrefix(Uint8Array.of(0x4c, 255))), "4d");
});

test("a value under another key than it was sealed for is not believed", () => {
  const value = new Uint8Array(20).fill(5);
  sealValue(componentKey(1), value);
  assert(valueIsIntact(componentKey(1), value));
  assert(!valueIsIntact(componentKey(2), value));
  value[3]! ^= 128;
  assert(!valueIsIntact(componentKey(1), value));
});

test("a layout whose fields do not fill it is refused", () => {
  assert.throws(() => layout("odd", "Odd", 8, { a: u32("first") }), /fill 4 of 8/);
});
