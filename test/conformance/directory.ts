/** What every `Directory` promises, as tests. */
import assert from "node:assert/strict";
import type { Clock, Directory, DirectoryEvent } from "../../src/ports/index.ts";
import { registerSuite, type Promises, type World } from "./world.ts";

export interface DirectoryWorld extends World {
  /** Empty. */
  readonly directory: Directory;
  readonly clock: Clock;
  /** What the directory keeps, after `close` of the one before. */
  readonly reopen: () => Promise<Directory>;
}

const TTL_MS = 300;

const pass = (clock: Clock, ms: number): Promise<void> =>
  new Promise((resolve) => clock.after(ms, resolve));

async function put(directory: Directory, key: string, value: string): Promise<number> {
  const outcome = await directory.transact([], [{ kind: "put", key, value }]);
  assert.equal(outcome.succeeded, true);
  return outcome.revision;
}

async function remove(directory: Directory, key: string): Promise<number> {
  return (await directory.transact([], [{ kind: "delete", key }])).revision;
}

/** Collects what a watch delivers, as lines, and waits for their number. */
class Watcher {
  readonly lines: string[] = [];
  readonly revisions: number[] = [];
  #wanted = Infinity;
  #resolve: (() => void) | undefined;

  readonly onEvent = (event: DirectoryEvent): void => {
    const { key, revision } = event.kind === "put" ? event.record : event;
    this.lines.push(event.kind === "put" ? `put ${key} ${event.record.value}` : `delete ${key}`);
    this.revisions.push(revision);
    if (this.lines.length >= this.#wanted) this.#resolve?.();
  };

  readonly onLost = (): void => assert.fail("the watch was lost");

  async reach(count: number): Promise<void> {
    if (this.lines.length >= count) return;
    this.#wanted = count;
    await new Promise<void>((resolve) => (this.#resolve = resolve));
  }
}

const records: Promises<DirectoryWorld> = {
  "an empty directory has nothing": async ({ directory }) => {
    assert.equal(await directory.get("a"), undefined);
    assert.deepEqual((await directory.list("")).records, []);
  },
  "a record carries the revision that last changed it, and revisions grow": async (world) => {
    const { directory } = world;
    const first = await put(directory, "a", "1");
    const second = await put(directory, "b", "1");
    const third = await put(directory, "a", "2");
    assert.ok(0 < first && first < second && second < third);
    assert.deepEqual(await directory.get("a"), { key: "a", value: "2", revision: third });
    assert.deepEqual(await directory.get("b"), { key: "b", value: "1", revision: second });
  },
  "a listing has the prefix's records in the order of their keys": async ({ directory }) => {
    for (const key of ["/b/2", "/a", "/b/10", "/b", "/b/1", "/c"]) await put(directory, key, key);
    const { records: found, revision } = await directory.list("/b/");
    assert.deepEqual(
      found.map((record) => record.key),
      ["/b/1", "/b/10", "/b/2"],
    );
    assert.equal(revision, (await directory.get("/c"))?.revision);
  },
  "stamps are equal if and only if nothing under the prefix has changed": async ({ directory }) => {
    const stamps = new Set<string>();
    const see = async (): Promise<string> => JSON.stringify(await directory.stamp("/b/"));
    const isNew = async (what: string): Promise<void> => {
      const stamp = await see();
      assert.ok(!stamps.has(stamp), `${what}: ${stamp}`);
      stamps.add(stamp);
    };
    assert.deepEqual(await directory.stamp("/b/"), { count: 0, newestRevision: 0 });
    await isNew("empty");
    const revision = await put(directory, "/b/1", "x");
    assert.deepEqual(await directory.stamp("/b/"), { count: 1, newestRevision: revision });
    await isNew("one");
    const before = await see();
    for (const key of ["/a", "/b", "/b0", "/c"]) await put(directory, key, "of no concern");
    await remove(directory, "/c");
    assert.equal(await see(), before);
    await put(directory, "/b/2", "y");
    await isNew("two");
    await put(directory, "/b/1", "z");
    await isNew("the older one is the newer one");
    await remove(directory, "/b/1");
    await isNew("the newest is gone");
    await put(directory, "/b/1", "z");
    await isNew("and there again");
  },
  "a deleted record is gone, and deleting nothing changes nothing": async ({ directory }) => {
    await put(directory, "a", "1");
    await remove(directory, "a");
    assert.equal(await directory.get("a"), undefined);
    const again = await directory.transact([], [{ kind: "delete", key: "a" }]);
    assert.equal(again.succeeded, true);
  },
  "values come back as they are, empty and not ASCII too": async ({ directory }) => {
    for (const value of ["", "ümlaut 漢字 🪨", '{"a":[1,2]}', "x".repeat(20_000)]) {
      await put(directory, "key", value);
      assert.equal((await directory.get("key"))?.value, value);
    }
  },
  "what was written survives reopening, with its revisions": async ({ directory, reopen }) => {
    const first = await put(directory, "a", "1");
    await put(directory, "b", "2");
    await remove(directory, "b");
    await directory.close();
    const again = await reopen();
    assert.deepEqual((await again.list("")).records, [{ key: "a", value: "1", revision: first }]);
    assert.ok((await put(again, "c", "3")) > first + 2);
    await again.close();
  },
};

const transactions: Promises<DirectoryWorld> = {
  "a transaction happens if every condition holds": async ({ directory }) => {
    const revision = await put(directory, "a", "1");
    const outcome = await directory.transact(
      [
        { key: "a", revision },
        { key: "new", revision: 0 },
      ],
      [
        { kind: "put", key: "new", value: "n" },
        { kind: "delete", key: "a" },
      ],
    );
    assert.equal(outcome.succeeded, true);
    assert.equal(await directory.get("a"), undefined);
    assert.equal((await directory.get("new"))?.revision, outcome.revision);
  },
  "a transaction with one condition that fails does nothing at all": async ({ directory }) => {
    const revision = await put(directory, "a", "1");
    for (const conditions of [
      [{ key: "a", revision: revision + 1 }],
      [{ key: "a", revision: 0 }],
      [
        { key: "a", revision },
        { key: "absent", revision: 1 },
      ],
    ]) {
      const outcome = await directory.transact(conditions, [
        { kind: "put", key: "b", value: "2" },
        { kind: "delete", key: "a" },
      ]);
      assert.deepEqual(outcome, { succeeded: false, revision });
    }
    assert.equal((await directory.get("a"))?.value, "1");
    assert.equal(await directory.get("b"), undefined);
  },
  "all writes of a transaction have one revision": async ({ directory }) => {
    const { revision } = await directory.transact(
      [],
      [
        { kind: "put", key: "a", value: "1" },
        { kind: "put", key: "b", value: "2" },
      ],
    );
    assert.equal((await directory.get("a"))?.revision, revision);
    assert.equal((await directory.get("b"))?.revision, revision);
  },
  "of those who compare and swap at once, one succeeds": async ({ directory }) => {
    const revision = await put(directory, "owner", "nobody");
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        directory.transact(
          [{ key: "owner", revision }],
          [{ kind: "put", key: "owner", value: `host ${i}` }],
        ),
      ),
    );
    const winners = outcomes.flatMap((outcome, i) => (outcome.succeeded ? [i] : []));
    assert.equal(winners.length, 1);
    assert.equal((await directory.get("owner"))?.value, `host ${winners[0]}`);
  },
};

const watching: Promises<DirectoryWorld> = {
  "a watch delivers every change of its prefix, in order, from its revision on": async (world) => {
    const { directory } = world;
    await put(directory, "/a/0", "before");
    const { revision } = await directory.list("/a/");
    await put(directory, "/a/1", "one");
    const watcher = new Watcher();
    directory.watch("/a/", revision + 1, watcher.onEvent, watcher.onLost);
    await put(directory, "/b/1", "elsewhere");
    await put(directory, "/a/1", "two");
    await remove(directory, "/a/0");
    await watcher.reach(3);
    assert.deepEqual(watcher.lines, ["put /a/1 one", "put /a/1 two", "delete /a/0"]);
    assert.deepEqual(
      watcher.revisions,
      watcher.revisions.toSorted((a, b) => a - b),
    );
  },
  "the first revision of a watch is included": async ({ directory }) => {
    await put(directory, "x", "0");
    const { revision } = await directory.list("");
    const watcher = new Watcher();
    const changed = await put(directory, "a", "1");
    assert.equal(changed, revision + 1);
    directory.watch("a", changed, watcher.onEvent, watcher.onLost);
    await watcher.reach(1);
    assert.deepEqual(watcher.lines, ["put a 1"]);
  },
  "an event never comes before its change can be read": async ({ directory }) => {
    const { revision } = await directory.list("");
    const read = new Promise<string | undefined>((resolve) => {
      directory.watch(
        "a",
        revision + 1,
        () => void directory.get("a").then((record) => resolve(record?.value)),
        () => assert.fail("the watch was lost"),
      );
    });
    await put(directory, "a", "1");
    assert.equal(await read, "1");
  },
  "a cancelled watch is silent, and others go on": async ({ directory }) => {
    const { revision } = await directory.list("");
    const cancelled = new Watcher();
    const watcher = new Watcher();
    const watch = directory.watch("", revision + 1, cancelled.onEvent, cancelled.onLost);
    directory.watch("", revision + 1, watcher.onEvent, watcher.onLost);
    await put(directory, "a", "1");
    await Promise.all([watcher.reach(1), cancelled.reach(1)]);
    watch.cancel();
    watch.cancel();
    await put(directory, "b", "2");
    await watcher.reach(2);
    assert.deepEqual(cancelled.lines, ["put a 1"]);
  },
};

const leases: Promises<DirectoryWorld> = {
  "keys of a lease go when it is not kept alive, others stay": async ({ directory, clock }) => {
    const lease = await directory.grantLease(TTL_MS);
    await directory.transact([], [{ kind: "put", key: "with", value: "1", lease }]);
    const { revision } = await directory.list("");
    await put(directory, "without", "1");
    const watcher = new Watcher();
    directory.watch("with", revision + 1, watcher.onEvent, watcher.onLost);
    await watcher.reach(2);
    assert.deepEqual(watcher.lines, ["put without 1", "delete with"]);
    assert.equal(await directory.get("with"), undefined);
    assert.equal((await directory.get("without"))?.value, "1");
    assert.equal(await directory.keepAlive(lease), 0);
    await pass(clock, 1);
  },
  "a lease that is kept alive lasts": async ({ directory, clock }) => {
    const lease = await directory.grantLease(TTL_MS);
    await directory.transact([], [{ kind: "put", key: "a", value: "1", lease }]);
    for (let i = 0; i < 8; i++) {
      await pass(clock, TTL_MS / 3);
      const leftMs = await directory.keepAlive(lease);
      assert.ok(leftMs > 0 && leftMs <= Math.max(TTL_MS, 2000), `${leftMs} ms left`);
    }
    assert.equal((await directory.get("a"))?.value, "1");
    await directory.revokeLease(lease);
  },
  "a revoked lease takes its keys with it": async ({ directory }) => {
    const lease = await directory.grantLease(60_000);
    const writes = ["a", "b"].map((key) => ({ kind: "put", key, value: "1", lease }) as const);
    await directory.transact([], writes);
    await directory.revokeLease(lease);
    assert.deepEqual((await directory.list("")).records, []);
    assert.equal(await directory.keepAlive(lease), 0);
  },
  "a key that is written without the lease stays when it ends": async ({ directory }) => {
    const lease = await directory.grantLease(60_000);
    await directory.transact([], [{ kind: "put", key: "a", value: "1", lease }]);
    await put(directory, "a", "2");
    await directory.revokeLease(lease);
    assert.equal((await directory.get("a"))?.value, "2");
  },
};

export function directoryConformance(name: string, open: () => Promise<DirectoryWorld>): void {
  registerSuite(name, open, [records, transactions, watching, leases]);
}
