/** Whoever follows sees the newest state at last, whatever happens meanwhile. */
import assert from "node:assert/strict";
import { CodedError, Prng } from "../base/index.ts";
import { DirectoryWorld } from "../../test/support/directory-world.ts";
import { test } from "../../test/support/test.ts";
import { DirectoryFollower } from "./directory-follower.ts";

const RETRY_MS = 1000;

class Reader {
  readonly follower: DirectoryFollower;
  readonly failures: string[] = [];
  read: readonly { readonly key: string; readonly value: string }[] | undefined;
  count = 0;
  /** How long a reading takes. */
  readMs = 0;
  #isReading = false;

  static async run(work: (world: DirectoryWorld, reader: Reader) => Promise<void>): Promise<void> {
    await DirectoryWorld.run(async (world) => {
      const reader = new Reader(world);
      await work(world, reader);
      reader.follower.close();
    });
  }

  constructor(world: DirectoryWorld) {
    this.follower = new DirectoryFollower({
      ...{ directory: world.seen, clock: world.clock, prefix: "a/", retryMs: RETRY_MS },
      read: async () => {
        assert.ok(!this.#isReading, "one reading at a time");
        this.#isReading = true;
        this.count++;
        try {
          const records = await world.listed("a/");
          await world.pass(this.readMs);
          if (records.some(({ value }) => value === "damaged"))
            throw new CodedError({ code: "damaged", message: "it is" });
          this.read = records;
        } finally {
          this.#isReading = false;
        }
      },
      failed: ({ code }) => void this.failures.push(code),
    });
  }
}

test("what changes is read, and nothing else is", async () => {
  await Reader.run(async (world, reader) => {
    await world.put("a/1", "x");
    await reader.follower.open();
    assert.deepEqual(reader.read, [{ key: "a/1", value: "x" }]);
    await world.put("b/1", "of no concern");
    await world.pass(5000);
    assert.equal(reader.count, 1);
    await world.put("a/2", "y");
    await world.pass(1);
    assert.equal(reader.read.length, 2);
  });
});

test("changes during the first reading and any later one are read after it, together", async () => {
  await Reader.run(async (world, reader) => {
    reader.readMs = 100;
    const opened = reader.follower.open();
    await world.pass(50);
    for (let change = 0; change < 10; change++) await world.put("a/1", String(change));
    await opened;
    assert.deepEqual(reader.read, [{ key: "a/1", value: "9" }]);
    assert.equal(reader.count, 2);
  });
});

test("whoever asks for a reading waits for one that begins after that", async () => {
  await Reader.run(async (world, reader) => {
    reader.readMs = 100;
    await reader.follower.open();
    const early = reader.follower.readAgain();
    await world.pass(50);
    await world.put("a/1", "x");
    await reader.follower.readAgain();
    assert.deepEqual(reader.read, [{ key: "a/1", value: "x" }]);
    await early;
    assert.equal(reader.count, 3);
  });
});

test("opened without a directory it fails and follows nothing; started it tries on", async () => {
  await Reader.run(async (world, reader) => {
    world.isAway = true;
    await assert.rejects(reader.follower.open(), { code: "directory-unavailable" });
    await world.pass(3 * RETRY_MS);
    assert.deepEqual(reader.failures, []);
    reader.follower.start();
    await world.pass(2.5 * RETRY_MS);
    assert.equal(reader.failures.length, 3);
    world.isAway = false;
    await world.put("a/1", "x");
    await world.pass(RETRY_MS);
    assert.deepEqual(reader.read, [{ key: "a/1", value: "x" }]);
    assert.equal(reader.failures.length, 3);
  });
});

test("a reading that fails is told once, and tried again, with what has come since", async () => {
  await Reader.run(async (world, reader) => {
    await reader.follower.open();
    reader.readMs = 10;
    await world.put("a/1", "damaged");
    await world.pass(5);
    await reader.follower.readAgain();
    assert.deepEqual(reader.failures, ["damaged"]);
    await world.put("a/1", "x");
    await world.pass(RETRY_MS + 20);
    assert.deepEqual(reader.read, [{ key: "a/1", value: "x" }]);
    assert.deepEqual(reader.failures, ["damaged"]);
  });
});

test("past gaps, failures and slow answers it ends with what the directory lists", async () => {
  await Reader.run(async (world, reader) => {
    const prng = new Prng(5);
    await reader.follower.open();
    for (let round = 0; round < 300; round++) {
      world.isAway = prng.chance(0.2);
      world.listMs = prng.below(30);
      reader.readMs = prng.below(30);
      if (prng.chance(0.2)) world.lose.at(-1)?.();
      await world.put(`a/${prng.below(5)}`, prng.chance(0.1) ? "damaged" : String(round));
      await world.pass(prng.below(200));
    }
    world.isAway = false;
    for (let key = 0; key < 5; key++) await world.put(`a/${key}`, "whole");
    await world.pass(2 * RETRY_MS);
    assert.deepEqual(reader.read, await world.listed("a/"));
  });
});

test("a closed one reads no more", async () => {
  await Reader.run(async (world, reader) => {
    await reader.follower.open();
    reader.follower.close();
    await world.put("a/1", "x");
    world.lose[0]?.();
    await reader.follower.readAgain();
    await world.pass(2 * RETRY_MS);
    assert.equal(reader.count, 1);
  });
});
