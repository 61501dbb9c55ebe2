/**
 * Bits that turn over on a real disk, under a host that was stopped or killed: the client gets an
 * error or the right data, never wrong data, and the host says where.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test } from "node:test";
import { Prng } from "../../src/base/index.ts";
import { flipBit, placesOf, regularFiles } from "./damage.ts";
import type { Place } from "./damage.ts";
import { isLong, startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { NbdClient, NbdError } from "./nbd-client.ts";
import type { NbdAddress } from "./nbd-client.ts";
import { runTool } from "./process.ts";
import { destagedStats } from "./stats.ts";

const BLOCK = 4096;
const BLOCKS = 64;
const VOLUME_BYTES = 64 << 20;
/** Small, because the tests search through all of it. */
const DEVICE_SIZE = "512M";
const EIO = 5;
const FLIPS_PER_FILE = isLong ? 100 : 8;

interface EventList {
  readonly events: readonly { readonly level: string; readonly kind: string }[];
}

interface Status {
  readonly health: string;
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
}

function randomBlocks(seed: number): Buffer {
  const data = Buffer.alloc(BLOCKS * BLOCK);
  new Prng(seed).fill(data);
  return data;
}

function blockOf(data: Buffer, index: number): Buffer {
  return data.subarray(index * BLOCK, (index + 1) * BLOCK);
}

/** What a read of one block gives: its data, or undefined for EIO; another error is thrown. */
async function readBlock(client: NbdClient, index: number): Promise<Buffer | undefined> {
  try {
    return await client.read(index * BLOCK, BLOCK);
  } catch (error) {
    if (error instanceof NbdError && error.errno === EIO) return undefined;
    throw error;
  }
}

/** Reads every block: right or refused. Returns the indexes that were refused. */
async function refusedBlocks(address: NbdAddress, data: Buffer): Promise<number[]> {
  const client = await NbdClient.connect(address);
  const refused: number[] = [];
  for (let index = 0; index < BLOCKS; index++) {
    const found = await readBlock(client, index);
    if (found === undefined) refused.push(index);
    else assert.ok(found.equals(blockOf(data, index)), `block ${index} holds wrong data`);
  }
  await client.close();
  return refused;
}

async function assertReported(host: DevHost): Promise<void> {
  const status = await host.cli<Status>(["status"], { codes: [0, 1] });
  assert.notEqual(status.health, "healthy", "status says nothing");
  assert.ok(status.reasons.length > 0, "status gives no reason");
  const { events } = await host.cli<EventList>(["events"]);
  const loud = events.filter(({ level }) => level !== "info");
  assert.ok(loud.length > 0, `no event: ${JSON.stringify(events)}`);
}

/** Where the block store holds the block; the journal, a file of its own, may hold it too. */
function blockStorePlace(host: DevHost, data: Buffer): Place {
  const places = placesOf(host.dataFolder, data);
  const stored = places.filter(({ file }) => !file.endsWith("/journal"));
  assert.equal(stored.length, 1, `the block should be stored once: ${JSON.stringify(places)}`);
  return stored[0]!;
}

test("a bit flipped in a stored block is an I/O error, and the host says where", async (t) => {
  const host = await startHost(t, DEVICE_SIZE);
  const address = await host.volume("flip", VOLUME_BYTES);
  const data = randomBlocks(1);
  const client = await NbdClient.connect(address);
  await client.write(0, data);
  await client.close();
  await destagedStats(host);
  await host.stop();
  flipBit(blockStorePlace(host, blockOf(data, 17)), 1234, 5);
  await host.start();
  assert.deepEqual(await refusedBlocks(address, data), [17]);
  await assertReported(host);

  const writer = await NbdClient.connect(address);
  await writer.write(17 * BLOCK, blockOf(data, 17));
  await writer.close();
  assert.deepEqual(await refusedBlocks(address, data), [], "writing a bad block anew heals it");
});

test("a bit flipped in the journal never becomes wrong data", async (t) => {
  const host = await startHost(t, DEVICE_SIZE);
  const address = await host.volume("flip", VOLUME_BYTES);
  const data = randomBlocks(2);
  const client = await NbdClient.connect(address);
  for (let index = 0; index < BLOCKS; index++)
    await client.write(index * BLOCK, blockOf(data, index));
  await host.kill(); // Before the host found time to destage.
  const places = placesOf(host.dataFolder, blockOf(data, 17));
  assert.ok(places.length > 0, "the block is nowhere on disk");
  for (const place of places) flipBit(place, 1234, 5);
  try {
    await host.start();
  } catch (error) {
    // Refusing to start is right too, if the reason is given.
    assert.match(String(error), /journal/);
    t.diagnostic("the host refused to start");
    return;
  }
  await assertReported(host);
  const isOffered = await NbdClient.connect(address).then(
    (connection) => connection.close().then(() => true),
    () => false,
  );
  t.diagnostic(`the host started, the volume is ${isOffered ? "" : "not "}offered`);
  if (isOffered) assert.ok((await refusedBlocks(address, data)).includes(17));
});

test("bits flipped in the metadata never become wrong data", async (t) => {
  const host = await startHost(t, DEVICE_SIZE);
  const address = await host.volume("flip", VOLUME_BYTES);
  const data = randomBlocks(3);
  const client = await NbdClient.connect(address);
  await client.write(0, data);
  await client.close();
  await destagedStats(host);
  await host.stop();
  const whole = `${host.folder}/whole`;
  await copyFolder(host.dataFolder, whole);
  const files = regularFiles(host.dataFolder).filter((file) => file.endsWith(".mdb"));
  const flips = files.flatMap((file) => usedBytes(file, new Prng(3), FLIPS_PER_FILE));
  assert.ok(flips.length > 0, "there is no metadata file");
  let refusals = 0;
  let errors = 0;
  for (const flip of flips) {
    flipBit(flip);
    await host.start().catch(() => undefined); // Refusing to start is right too.
    const client = await NbdClient.connect(address).catch(() => undefined);
    if (client === undefined) refusals++;
    else {
      await client.close();
      const refused = await refusedBlocks(address, data);
      if (refused.length > 0) errors++;
    }
    assert.notEqual(host.program.signal, "SIGSEGV", `${JSON.stringify(flip)} crashed the host`);
    await host.kill();
    fs.rmSync(host.dataFolder, { recursive: true });
    await copyFolder(whole, host.dataFolder);
  }
  t.diagnostic(
    `${flips.length} flips: ${refusals} not served, ${errors} with I/O errors, none wrong`,
  );
});

async function copyFolder(from: string, to: string): Promise<void> {
  await runTool("cp", ["-a", "--sparse=always", from, to]);
}

/** Places of `count` bytes that are in use, by their not being zero. */
function usedBytes(file: string, prng: Prng, count: number): Place[] {
  const bytes = fs.readFileSync(file);
  const used: number[] = [];
  for (let offset = 0; offset < bytes.length; offset++) if (bytes[offset] !== 0) used.push(offset);
  return Array.from({ length: count }, () => ({ file, offset: prng.pick(used) }));
}
