/** Each way from a machine's memory to an encrypted volume and back. */
import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { Guest } from "../../../test/vhost-user/queue-guest.ts";
import { GUEST_ADDRESS } from "../../../test/vhost-user/queue-world.ts";
import type { GuestBuffer } from "../../../test/vhost-user/model-driver.ts";
import { WideBlockCipher } from "../../platform/index.ts";
import { EncryptedVolume } from "../volume/encrypted-volume.ts";
import { ScratchMemory } from "../volume/scratch-memory.ts";

const PAGE = 4096;
const READ = 0;
const WRITE = 1;
const DISCARD = 11;
const OK = 0;
const CIPHER = new WideBlockCipher(new Uint8Array(32).fill(3));

function guestOf(completions: "by-test" | "after-submit"): Guest {
  return new Guest({
    ...{ memoryBytes: 1 << 20, sectionBytes: 64 * PAGE },
    volume: { completions, record: true },
    over: (volume) => {
      const memory = new ScratchMemory((lengthBytes) => volume.allocate(lengthBytes));
      return new EncryptedVolume(volume, CIPHER, memory);
    },
  });
}

/** Where blocks are moved without a copy in between. */
function pages(guest: Guest, count: number): GuestBuffer {
  const at = Math.ceil(guest.place((count + 1) * PAGE) / PAGE) * PAGE;
  guest.bytes.fill(0xee, at, at + count * PAGE);
  return { address: GUEST_ADDRESS + at, lengthBytes: count * PAGE, deviceWrites: true };
}

function encrypted(plain: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(plain.length);
  for (let at = 0; at < plain.length; at += PAGE) CIPHER.encrypt(plain, at, bytes, at);
  return bytes;
}

async function write(guest: Guest, sector: number, bytes: Uint8Array): Promise<void> {
  const data = guest.buffer(bytes.length, false);
  guest.bytesOf(data).set(bytes);
  assert.equal(await guest.ask(WRITE, sector, [data]), OK);
}

test("a machine reads what it has written, and the volume holds it encrypted", async () => {
  const guest = guestOf("after-submit");
  const plain = Uint8Array.from({ length: 3 * PAGE }, (_, i) => (i >> 12) + 1);
  await write(guest, 8, plain);
  assert.deepEqual(new Uint8Array(guest.volume.bytes.subarray(PAGE, 4 * PAGE)), encrypted(plain));
  const direct = pages(guest, 3);
  assert.equal(await guest.ask(READ, 8, [direct]), OK);
  assert.deepEqual(guest.bytesOf(direct), plain);
  // In memory already: within the turn.
  guest.volume.isCached = () => true;
  const before = guest.volume.calls.length;
  const cached = pages(guest, 3);
  assert.equal(await guest.ask(READ, 8, [cached]), OK);
  assert.deepEqual(guest.bytesOf(cached), plain);
  assert.equal(guest.volume.calls.length, before);
});

test("parts of blocks are read, written and discarded as parts", async () => {
  const guest = guestOf("after-submit");
  const plain = new Uint8Array(2 * PAGE).fill(5);
  await write(guest, 0, plain);
  await write(guest, 7, new Uint8Array(1024).fill(6));
  assert.equal(await guest.ask(DISCARD, 0, [guest.range(12, 2, 0)]), OK);
  plain.fill(6, 7 * 512, 9 * 512).fill(0, 12 * 512, 14 * 512);
  assert.deepEqual(await guest.read(7, 1024), plain.slice(7 * 512, 9 * 512));
  assert.deepEqual(await guest.read(0, 2 * PAGE), plain);
  assert.deepEqual(new Uint8Array(guest.volume.bytes.subarray(0, 2 * PAGE)), encrypted(plain));
});

test("a machine that looks into its memory during a read sees nothing encrypted there", async () => {
  const guest = guestOf("by-test");
  CIPHER.encrypt(new Uint8Array(PAGE).fill(9), 0, guest.volume.bytes, 0);
  const data = pages(guest, 1);
  const asked = guest.ask(READ, 0, [data]);
  await guest.settle();
  assert.ok(guest.bytesOf(data).every((byte) => byte === 0xee));
  await asked;
  assert.equal(guest.volume.waitingCount, 1);
  guest.volume.deliver(() => 0);
  await guest.settle();
  assert.ok(guest.bytesOf(data).every((byte) => byte === 9));
});
