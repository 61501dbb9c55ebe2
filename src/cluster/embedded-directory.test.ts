import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError, Prng } from "../base/index.ts";
import type { DirectoryEvent, DirectoryWrite } from "../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { EmbeddedDirectory } from "./embedded-directory.ts";

interface World {
  readonly simulation: Simulation;
  readonly machine: SimMachine;
  readonly store: SimMetadataStore;
  readonly medium: MetadataMedium;
  readonly directory: EmbeddedDirectory;
}

async function open(simulation: Simulation, medium: MetadataMedium): Promise<World> {
  const machine = new SimMachine(simulation);
  const store = new SimMetadataStore(machine, medium);
  const directory = await EmbeddedDirectory.open(store, machine.clock);
  return { simulation, machine, store, medium, directory };
}

function fresh(seed = 1): Promise<World> {
  return open(new Simulation({ seed }), new MetadataMedium());
}

async function reopen(world: World): Promise<World> {
  await world.simulation.run(world.directory.close());
  await world.simulation.run(world.store.close());
  return open(world.simulation, world.medium);
}

type Entries = readonly (readonly [string, string])[];

/** What the directory lists, as `[key, value@revision]`. */
async function contents(directory: EmbeddedDirectory): Promise<Entries> {
  const { records } = await directory.list("");
  return records.map(({ key, value, revision }) => [key, `${value}@${revision}`]);
}

/** The directory's promises in ten lines. */
class Model {
  readonly records = new Map<string, string>();
  revision = 0;

  revisionOf(key: string): number {
    return Number(this.records.get(key)?.split("@")[1] ?? 0);
  }

  apply(writes: readonly DirectoryWrite[]): void {
    const isChange = writes.some(({ kind, key }) => kind === "put" || this.records.has(key));
    if (isChange) this.revision++;
    for (const write of writes)
      if (write.kind === "put") this.records.set(write.key, `${write.value}@${this.revision}`);
      else this.records.delete(write.key);
  }
}

function randomWrites(prng: Prng): DirectoryWrite[] {
  const keys = new Set(Array.from({ length: prng.between(1, 3) }, () => randomKey(prng)));
  return [...keys].map((key) =>
    prng.chance(0.7)
      ? { kind: "put", key, value: prng.chance(0.1) ? 'ü€"\n\u{1f600}' : String(prng.u32()) }
      : { kind: "delete", key },
  );
}

function randomKey(prng: Prng): string {
  return `/${prng.pick(["a", "b", "ab"])}/${prng.below(5)}`;
}

/** Keeps a copy by following changes; asserts that revisions only grow. */
function follow(directory: EmbeddedDirectory, prefix: string): Map<string, string> {
  const copy = new Map<string, string>();
  let last = 0;
  const onEvent = (event: DirectoryEvent): void => {
    const revision = event.kind === "put" ? event.record.revision : event.revision;
    assert.ok(revision >= last, "events come in order");
    last = revision;
    if (event.kind === "put") copy.set(event.record.key, `${event.record.value}@${revision}`);
    else assert.ok(copy.delete(event.key), "only what was there is deleted");
  };
  directory.watch(prefix, 1, onEvent, () => assert.fail("nothing was lost"));
  return copy;
}

/** In key order, as a listing has to be. */
function withPrefix(records: ReadonlyMap<string, string>, prefix: string): Entries {
  return [...records]
    .filter(([key]) => key.startsWith(prefix))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}

test("a directory is a map with revisions, reopened or not; watchers miss nothing", async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const prng = new Prng(seed);
    const model = new Model();
    let world = await fresh(seed);
    const copies = ["", "/a", "/b/1"].map((prefix) => ({
      prefix,
      copy: follow(world.directory, prefix),
    }));
    for (let round = 0; round < 60; round++) {
      const keys = new Set(Array.from({ length: prng.below(3) }, () => randomKey(prng)));
      const conditions = [...keys].map((key) => {
        const isRight = prng.chance(0.8);
        return { key, revision: isRight ? model.revisionOf(key) : prng.below(20) };
      });
      const holds = conditions.every(({ key, revision }) => model.revisionOf(key) === revision);
      const writes = randomWrites(prng);
      const outcome = await world.simulation.run(world.directory.transact(conditions, writes));
      if (holds) model.apply(writes);
      assert.deepEqual(outcome, { succeeded: holds, revision: model.revision });
      assert.deepEqual(await contents(world.directory), withPrefix(model.records, ""));
      if (round < 50) continue;
      // Watches do not outlive the directory: they are compared before the first reopening.
      if (round === 50)
        for (const { prefix, copy } of copies)
          assert.deepEqual(withPrefix(copy, ""), withPrefix(model.records, prefix));
      world = await reopen(world);
      assert.deepEqual(await contents(world.directory), withPrefix(model.records, ""));
    }
  }
});

test("transactions called together happen in turn, each seeing the ones before", async () => {
  const { simulation, directory } = await fresh();
  const outcomes = await simulation.run(
    Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        directory.transact(
          [{ key: "/k", revision: 0 }],
          [{ kind: "put", key: "/k", value: String(i) }],
        ),
      ),
    ),
  );
  assert.deepEqual(
    outcomes.map((outcome) => outcome.succeeded),
    outcomes.map((_, i) => i === 0),
  );
  assert.equal((await directory.get("/k"))?.value, "0");
});

test("a power cut loses and tears nothing that was acknowledged or seen", async () => {
  for (let cut = 1; cut <= 30; cut++) {
    const simulation = new Simulation({ seed: cut });
    const medium = new MetadataMedium();
    const { machine, directory } = await open(simulation, medium);
    const prng = new Prng(cut);
    machine.cutPowerAt(cut, { kind: "random", seed: cut });
    const model = new Model();
    const states = [new Map(model.records)];
    let acknowledgedCount = 0;
    let seenRevision = 0;
    const watching = (event: DirectoryEvent): void => {
      seenRevision = event.kind === "put" ? event.record.revision : event.revision;
    };
    directory.watch("", 1, watching, () => assert.fail("lost"));
    const outcome = await machine.run(async () => {
      const answers = Array.from({ length: 30 }, () => {
        const writes = [
          ...randomWrites(prng),
          { kind: "put", key: "/always", value: "x" } as const,
        ];
        model.apply(writes);
        states.push(new Map(model.records));
        return directory.transact([], writes).then(() => acknowledgedCount++);
      });
      await Promise.all(answers);
    });
    assert.equal(outcome.kind, "power-cut");
    const world = await open(simulation, medium);
    const { revision } = await world.directory.list("");
    assert.ok(revision >= acknowledgedCount && revision >= seenRevision);
    assert.deepEqual(await contents(world.directory), withPrefix(states[revision]!, ""));
  }
});

test("a watcher gets what it missed, or is told that it is not held any more", async () => {
  const { simulation, directory } = await fresh();
  const put = (value: string): Promise<unknown> =>
    simulation.run(directory.transact([], [{ kind: "put", key: "/k", value }]));
  for (let i = 1; i <= 5; i++) await put(String(i));
  const seen: string[] = [];
  const note = (event: DirectoryEvent): void => {
    seen.push(event.kind === "put" ? event.record.value : "deleted");
  };
  const watch = directory.watch("/k", 4, note, () => assert.fail("held"));
  assert.equal(seen.length, 0, "nothing is delivered from inside the call");
  await put("6");
  assert.deepEqual(seen, ["4", "5", "6"]);
  watch.cancel();
  await put("7");
  assert.equal(seen.length, 3);
  let lostCount = 0;
  for (let i = 0; i < 4200; i++) await put("x");
  directory.watch("/k", 4, note, () => lostCount++);
  await put("y");
  assert.equal(lostCount, 1);
  assert.equal(seen.length, 3);
});

test("after reopening, revisions go on and what was before is lost to watchers", async () => {
  const first = await fresh();
  await first.simulation.run(
    first.directory.transact([], [{ kind: "put", key: "/k", value: "1" }]),
  );
  const { simulation, directory } = await reopen(first);
  const seen: number[] = [];
  let lostCount = 0;
  const note = (event: DirectoryEvent): void => {
    if (event.kind === "put") seen.push(event.record.revision);
  };
  directory.watch("", 1, note, () => lostCount++);
  directory.watch("", 2, note, () => assert.fail("revision 2 is still to come"));
  const write = directory.transact([], [{ kind: "put", key: "/k", value: "2" }]);
  assert.deepEqual(await simulation.run(write), { succeeded: true, revision: 2 });
  await simulation.runUntil(() => seen.length > 0);
  assert.deepEqual(seen, [2]);
  assert.equal(lostCount, 1);
});

test("keys of a lease go when it is not kept alive, and stay while it is", async () => {
  const { simulation, directory } = await fresh();
  const lease = await simulation.run(directory.grantLease(1000));
  const put = directory.transact([], [{ kind: "put", key: "/alive/h1", value: "", lease }]);
  await simulation.run(put);
  for (let i = 0; i < 5; i++) {
    await simulation.runForMs(700);
    assert.equal(await directory.keepAlive(lease), 1000);
  }
  assert.ok(await directory.get("/alive/h1"));
  const events: string[] = [];
  directory.watch("/alive/", 2, (event) => events.push(event.kind), assert.fail);
  await simulation.runForMs(1100);
  assert.equal(await directory.get("/alive/h1"), undefined);
  assert.deepEqual(events, ["delete"]);
  assert.equal(await directory.keepAlive(lease), 0);
  await assert.rejects(
    simulation.run(directory.transact([], [{ kind: "put", key: "/x", value: "", lease }])),
    (error) => error instanceof CodedError && error.code === "lease-ended",
  );
});

test("a lease takes a bounded number of keys, and has room again for each that has gone", async () => {
  const { simulation, directory } = await fresh();
  const lease = await simulation.run(directory.grantLease(60_000));
  const put = (from: number, count: number, isLeased = true): Promise<unknown> => {
    const keys = Array.from({ length: count }, (_none, i) => `/k/${from + i}`);
    const fields = { kind: "put", value: "", ...(isLeased ? { lease } : {}) } as const;
    return simulation.run(
      directory.transact(
        [],
        keys.map((key) => ({ ...fields, key })),
      ),
    );
  };
  for (let at = 0; at < 1024; at += 64) await put(at, 64);
  const isFull = (error: unknown): boolean =>
    error instanceof CodedError && error.code === "lease-full";
  await assert.rejects(put(1024, 1), isFull);
  await put(0, 64);
  await put(0, 2, false);
  await simulation.run(directory.transact([], [{ kind: "delete", key: "/k/5" }]));
  await assert.rejects(put(2000, 4), isFull);
  await put(2000, 3);
  await simulation.run(directory.revokeLease(lease));
  assert.deepEqual(
    (await directory.list("/k/")).records.map(({ key }) => key),
    ["/k/0", "/k/1"],
  );
});

test("a key that is written anew without its lease stays when the lease ends", async () => {
  const { simulation, directory } = await fresh();
  const lease = await simulation.run(directory.grantLease(1000));
  const put = (key: string, value: string, withLease: boolean): DirectoryWrite =>
    withLease ? { kind: "put", key, value, lease } : { kind: "put", key, value };
  await simulation.run(directory.transact([], [put("/a", "1", true), put("/b", "1", true)]));
  await simulation.run(directory.transact([], [put("/a", "2", false)]));
  await simulation.run(directory.revokeLease(lease));
  assert.equal((await directory.get("/a"))?.value, "2");
  assert.equal(await directory.get("/b"), undefined);
  assert.equal(await directory.keepAlive(lease), 0);
});

test("a lease outlives a restart with a fresh time to live, and still ends", async () => {
  const first = await fresh();
  const lease = await first.simulation.run(first.directory.grantLease(1000));
  await first.simulation.run(
    first.directory.transact([], [{ kind: "put", key: "/a", value: "", lease }]),
  );
  await first.simulation.runForMs(900);
  const { simulation, directory } = await reopen(first);
  await simulation.runForMs(900);
  assert.ok(await directory.get("/a"));
  await simulation.runForMs(200);
  assert.equal(await directory.get("/a"), undefined);
  const other = await simulation.run(directory.grantLease(1000));
  assert.notEqual(other, lease, "names of leases are not used again");
});

test("a full store refuses a transaction whole and the directory goes on", async () => {
  const { simulation, directory, store } = await fresh();
  store.refuseNextCommits(1);
  const refused = directory.transact([], [{ kind: "put", key: "/a", value: "1" }]);
  await assert.rejects(
    simulation.run(refused),
    (error) => error instanceof CodedError && error.code === "no-space",
  );
  assert.equal(await directory.get("/a"), undefined);
  const next = directory.transact([], [{ kind: "put", key: "/a", value: "2" }]);
  assert.deepEqual(await simulation.run(next), { succeeded: true, revision: 1 });
});

test("what does not fit or does not parse is refused with a code", async () => {
  const world = await fresh();
  const { simulation, directory } = world;
  const long = directory.transact([], [{ kind: "put", key: "/a", value: "x".repeat(70_000) }]);
  await assert.rejects(
    simulation.run(long),
    (error) => error instanceof CodedError && error.code === "directory-value-too-long",
  );
  await assert.rejects(
    directory.grantLease(0),
    (error) => error instanceof CodedError && error.code === "lease-ttl-invalid",
  );
  await simulation.run(directory.transact([], [{ kind: "put", key: "/a", value: "1" }]));
  world.medium.corrupt(new TextEncoder().encode("dir/state"), 6);
  await assert.rejects(
    reopen(world),
    (error) => error instanceof CodedError && error.code.startsWith("record-"),
  );
});

test("a closed directory refuses calls, and calls made before are finished", async () => {
  const { simulation, directory } = await fresh();
  const write = directory.transact([], [{ kind: "put", key: "/a", value: "1" }]);
  const closing = directory.close();
  assert.equal((await simulation.run(write)).succeeded, true);
  await simulation.run(closing);
  await assert.rejects(
    directory.get("/a"),
    (error) => error instanceof CodedError && error.code === "directory-closed",
  );
});
