/** The directory on etcd while members die, networks fail and history is compacted. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { CodedError, Prng } from "../../src/base/index.ts";
import { EtcdDirectory } from "../../src/platform/index.ts";
import type { EtcdClientOptions } from "../../src/platform/index.ts";
import type { Directory, DirectoryEvent } from "../../src/ports/index.ts";
import { EtcdCluster, etcdMissing, freePorts } from "./etcd.ts";
import type { EtcdTestOptions } from "./etcd.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const missing = etcdMissing();
const options = missing === undefined ? { timeout: 60_000 } : { skip: missing };
const COUNTER = "/drystone/test/counter";

/** One member that tests share which do not harm it. */
let shared: Promise<EtcdCluster> | undefined;
/** Three members, for tests that bring back those they kill. */
let sharedThree: Promise<EtcdCluster> | undefined;
after(async () => {
  await (await shared)?.dispose();
  await (await sharedThree)?.dispose();
});

/** What a test uses, all of it gone at its end. */
class Bench {
  readonly #context: TestContext;

  constructor(context: TestContext) {
    this.#context = context;
  }

  async cluster(options: EtcdTestOptions = {}): Promise<EtcdCluster> {
    const cluster = await EtcdCluster.start(options);
    this.#context.after(async () => await cluster.dispose());
    return cluster;
  }

  /** Without records. */
  async sharedMember(): Promise<EtcdCluster> {
    shared ??= EtcdCluster.start();
    const cluster = await shared;
    await cluster.post("kv/deleterange", { key: "AA==", range_end: "AA==" });
    return cluster;
  }

  async sharedThree(): Promise<EtcdCluster> {
    sharedThree ??= EtcdCluster.start({ members: 3 });
    return await sharedThree;
  }

  async proxy(targetUrl: string): Promise<TcpProxy> {
    const proxy = await TcpProxy.start(targetUrl);
    this.#context.after(async () => await proxy.close());
    return proxy;
  }

  directory(endpoints: readonly string[], more: Partial<EtcdClientOptions> = {}): EtcdDirectory {
    const directory = new EtcdDirectory({ endpoints, ...more });
    this.#context.after(async () => await directory.close());
    return directory;
  }
}

/** What a watch has delivered, and a way to wait for it. */
class Seen {
  readonly values: string[] = [];
  readonly revisions: number[] = [];
  losses = 0;
  #look: (() => void) | undefined;

  readonly onEvent = (event: DirectoryEvent): void => {
    this.values.push(event.kind === "put" ? event.record.value : "deleted");
    this.revisions.push(event.kind === "put" ? event.record.revision : event.revision);
    this.#look?.();
  };

  readonly onLost = (): void => {
    this.losses++;
    this.#look?.();
  };

  async until(condition: (seen: this) => boolean): Promise<void> {
    while (!condition(this)) await new Promise<void>((resolve) => (this.#look = resolve));
  }
}

async function nextRevision(directory: Directory): Promise<number> {
  return (await directory.list("")).revision + 1;
}

/** Adds one by compare-and-swap, again and again until it has worked once. */
async function increment(directory: Directory): Promise<void> {
  for (;;) {
    const record = await directory.get(COUNTER);
    const outcome = await directory.transact(
      [{ key: COUNTER, revision: record?.revision ?? 0 }],
      [{ kind: "put", key: COUNTER, value: String(Number(record?.value ?? 0) + 1) }],
    );
    if (outcome.succeeded) return;
  }
}

const upTo = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i + 1));

async function put(directory: Directory, key: string, value: string): Promise<number> {
  const outcome = await directory.transact([], [{ kind: "put", key, value }]);
  assert.equal(outcome.succeeded, true);
  return outcome.revision;
}

test("members are killed: no increment is lost or doubled, no event either", options, async (t) => {
  const bench = new Bench(t);
  const cluster = await bench.sharedThree();
  const clients = [0, 1, 2].map((first) => {
    const { endpoints } = cluster;
    return bench.directory([...endpoints.slice(first), ...endpoints.slice(0, first)], {
      requestTimeoutMs: 1000,
      callTimeoutMs: 20_000,
      probeIntervalMs: 300,
    });
  });
  const revision = await nextRevision(clients[0]!);
  const watchers = clients.map((directory) => {
    const seen = new Seen();
    directory.watch(COUNTER, revision, seen.onEvent, seen.onLost);
    return seen;
  });
  const phase = { isOver: false };
  let count = 0;
  const work = clients.map(async (directory) => {
    while (!phase.isOver) {
      await increment(directory);
      count++;
    }
  });
  for (const member of [0, 1, 2]) {
    const before = count;
    await watchers[0]!.until(({ values }) => values.length >= before + 60);
    await cluster.killMember(member);
    await watchers[1]!.until(({ values }) => values.length >= before + 120);
    await cluster.startMember(member);
  }
  phase.isOver = true;
  await Promise.all(work);
  assert.equal((await clients[0]!.get(COUNTER))?.value, String(count));
  await Promise.all(watchers.map((seen) => seen.until(({ values }) => values.length >= count)));
  for (const { values, losses } of watchers) {
    assert.deepEqual(values, upTo(count));
    assert.equal(losses, 0);
  }
});

test("answers are lost: each transaction still happens once and says so", options, async (t) => {
  const bench = new Bench(t);
  const cluster = await bench.sharedMember();
  const proxy = await bench.proxy(cluster.endpoints[0]!);
  const prng = new Prng(7);
  let cuts = 0;
  proxy.cutsAnswer = () => {
    if (!prng.chance(0.2)) return false;
    cuts++;
    return true;
  };
  const clients = [0, 1, 2].map(() =>
    bench.directory([proxy.url], { callTimeoutMs: 30_000, probeIntervalMs: 100 }),
  );
  const seen = new Seen();
  clients[0]!.watch(COUNTER, await nextRevision(clients[0]!), seen.onEvent, seen.onLost);
  let unconditional = 0;
  await Promise.all(
    clients.map(async (directory, i) => {
      for (let round = 0; round < 10; round++) {
        await increment(directory);
        await put(directory, `/drystone/test/${i}/${round}`, "");
        unconditional++;
      }
    }),
  );
  assert.ok(cuts > 10, `${cuts} answers were lost`);
  await seen.until(({ values }) => values.length >= 30);
  assert.deepEqual(seen.values, upTo(30));
  // Each put wrote its key once: version 1 in etcd.
  const direct = bench.directory(cluster.endpoints);
  const { records } = await direct.list("/drystone/test/");
  assert.equal(records.length, unconditional + 1);
  const answer = await cluster.post("kv/range", { key: "AA==", range_end: "AA==" });
  const { kvs } = answer as { kvs: { key: string; version: string }[] };
  for (const { key, version } of kvs) {
    const text = Buffer.from(key, "base64").toString();
    if (/^\/drystone\/test\/\d/.test(text)) assert.equal(version, "1", text);
  }
});

test("a request that arrives after its caller gave up changes nothing", options, async (t) => {
  const bench = new Bench(t);
  const cluster = await bench.sharedMember();
  const proxy = await bench.proxy(cluster.endpoints[0]!);
  const endpoints = [proxy.url, ...cluster.endpoints];
  const directory = bench.directory(endpoints, { requestTimeoutMs: 300, probeIntervalMs: 60_000 });
  await put(directory, "/drystone/test/a", "0");
  proxy.holdsRequests = true;
  await put(directory, "/drystone/test/a", "1");
  const revision = await put(directory, "/drystone/test/a", "2");
  assert.ok(proxy.heldRequestCount > 0);
  const late = new Promise<void>((resolve) => (proxy.onOrphanedAnswer = resolve));
  proxy.release();
  await late;
  const record = { key: "/drystone/test/a", value: "2", revision };
  assert.deepEqual(await directory.get("/drystone/test/a"), record);
});

test("an endpoint hangs: calls and watches go on at another", options, async (t) => {
  const bench = new Bench(t);
  const cluster = await bench.sharedMember();
  const proxy = await bench.proxy(cluster.endpoints[0]!);
  const directory = bench.directory([proxy.url, ...cluster.endpoints], {
    requestTimeoutMs: 300,
    probeIntervalMs: 100,
  });
  const writer = bench.directory(cluster.endpoints);
  const seen = new Seen();
  directory.watch("/drystone/test/", await nextRevision(directory), seen.onEvent, seen.onLost);
  await put(directory, "/drystone/test/a", "before");
  await seen.until(({ values }) => values.length >= 1);
  proxy.isHung = true;
  // Nothing but the watch is at work: the probe has to find out.
  await put(writer, "/drystone/test/a", "meanwhile");
  await seen.until(({ values }) => values.length >= 2);
  assert.equal((await directory.get("/drystone/test/a"))?.value, "meanwhile");
  await put(directory, "/drystone/test/a", "after");
  await seen.until(({ values }) => values.length >= 3);
  assert.deepEqual([seen.values, seen.losses], [["before", "meanwhile", "after"], 0]);
});

test(
  "a member without the others is left, and a cluster without majority says so",
  options,
  async (t) => {
    const bench = new Bench(t);
    const cluster = await bench.sharedThree();
    const directory = bench.directory(cluster.endpoints, {
      requestTimeoutMs: 500,
      callTimeoutMs: 1200,
      probeIntervalMs: 200,
    });
    await put(directory, "/drystone/test/a", "1");
    await cluster.stopMember(1);
    await cluster.stopMember(2);
    const started = performance.now();
    const refusal = (error: unknown): boolean =>
      error instanceof CodedError &&
      error.code === "directory-unavailable" &&
      cluster.endpoints.every((url) => error.message.includes(url));
    await assert.rejects(directory.get("/drystone/test/a"), refusal);
    await assert.rejects(directory.keepAlive("1"), refusal);
    assert.ok(performance.now() - started < 4000);
    // It may have been handed to the leader before it stopped.
    await assert.rejects(put(directory, "/drystone/test/b", "1"), (error) => {
      const code = error instanceof CodedError ? error.code : "";
      return code === "directory-outcome-unknown" || code === "directory-unavailable";
    });
    cluster.continueMember(1);
    cluster.continueMember(2);
    await assert.doesNotReject(async () => {
      for (let round = 0; round < 10; round++) {
        try {
          return await put(directory, "/drystone/test/c", "1");
        } catch (error) {
          if (round === 9) throw error;
        }
      }
      return undefined;
    });
  },
);

test("a watch that falls behind a compaction is lost, others go on", options, async (t) => {
  const bench = new Bench(t);
  const cluster = await bench.sharedMember();
  const proxy = await bench.proxy(cluster.endpoints[0]!);
  const behind = bench.directory([proxy.url], { requestTimeoutMs: 300, probeIntervalMs: 100 });
  const directory = bench.directory(cluster.endpoints);
  const slow = new Seen();
  const other = new Seen();
  const from = await nextRevision(directory);
  behind.watch("/drystone/test/", from, slow.onEvent, slow.onLost);
  directory.watch("/drystone/test/", from, other.onEvent, other.onLost);
  await put(directory, "/drystone/test/a", "1");
  await slow.until(({ values }) => values.length >= 1);
  proxy.isHung = true;
  proxy.cut();
  await put(directory, "/drystone/test/a", "2");
  const revision = await put(directory, "/drystone/test/a", "3");
  await cluster.post("kv/compaction", { revision: String(revision) });
  proxy.isHung = false;
  proxy.cut();
  await slow.until(({ losses }) => losses > 0);
  await put(directory, "/drystone/test/a", "4");
  await other.until(({ values }) => values.length >= 4);
  assert.deepEqual([slow.values, slow.losses], [["1"], 1]);
  assert.deepEqual([other.values, other.losses], [["1", "2", "3", "4"], 0]);
  // From where the list was read there is a way on.
  const again = new Seen();
  const { revision: listed } = await behind.list("/drystone/test/");
  behind.watch("/drystone/test/", listed + 1, again.onEvent, again.onLost);
  await put(directory, "/drystone/test/a", "5");
  await again.until(({ values }) => values.length >= 1);
  assert.deepEqual([again.values, again.losses], [["5"], 0]);
});

test(
  "a lease that ended is told from one that lives, and takes no more records",
  options,
  async (t) => {
    const bench = new Bench(t);
    const cluster = await bench.sharedMember();
    const directory = bench.directory(cluster.endpoints);
    const lease = await directory.grantLease(60_000);
    const leftMs = await directory.keepAlive(lease);
    assert.ok(leftMs > 50_000 && leftMs <= 60_000, `${leftMs} ms left`);
    await directory.transact([], [{ kind: "put", key: "/a", value: "1", lease }]);
    await cluster.post("lease/revoke", { ID: lease });
    assert.equal(await directory.keepAlive(lease), 0);
    assert.equal(await directory.get("/a"), undefined);
    const late = directory.transact(
      [],
      [
        { kind: "put", key: "/a", value: "1", lease },
        { kind: "put", key: "/b", value: "1" },
      ],
    );
    await assert.rejects(late, { code: "lease-ended" });
    assert.equal(await directory.get("/b"), undefined);
    await directory.revokeLease(lease);
  },
);

test("transactions go on after the lease of their guards has ended", options, async (t) => {
  const bench = new Bench(t);
  const cluster = await bench.sharedMember();
  const directory = bench.directory(cluster.endpoints);
  await put(directory, "/a", "1");
  const { leases } = (await cluster.post("lease/leases", {})) as { leases: { ID: string }[] };
  for (const { ID } of leases) await cluster.post("lease/revoke", { ID });
  await put(directory, "/a", "2");
  await put(directory, "/a", "3");
  assert.equal((await directory.get("/a"))?.value, "3");
  const { records } = await directory.list("");
  assert.deepEqual(
    records.map(({ key }) => key),
    ["/a"],
  );
});

test(
  "a database that is full refuses writes with no-space and is read all the same",
  options,
  async (t) => {
    const bench = new Bench(t);
    const cluster = await bench.cluster({
      args: ["--quota-backend-bytes", String(2 * 1024 * 1024)],
    });
    const directory = bench.directory(cluster.endpoints);
    const value = "x".repeat(60_000);
    let count = 0;
    const fill = async (): Promise<void> => {
      for (; count < 200; count++) await put(directory, `/fill/${count}`, value);
    };
    await assert.rejects(fill(), { code: "no-space" });
    await assert.rejects(put(directory, "/more", "1"), { code: "no-space" });
    // What was refused is not there, what was acknowledged is.
    assert.equal((await directory.list("/fill/")).records.length, count);
  },
);

test("a listing of many pages has every record once, of one revision", options, async (t) => {
  const bench = new Bench(t);
  const directory = bench.directory((await bench.sharedMember()).endpoints);
  const keys = Array.from({ length: 1200 }, (_, i) => `/many/${String(i).padStart(4, "0")}`);
  for (let at = 0; at < keys.length; at += 100) {
    const writes = keys
      .slice(at, at + 100)
      .map((key) => ({ kind: "put", key, value: "" }) as const);
    await directory.transact([], writes);
  }
  const revision = await put(directory, "/n", "1");
  const listed = await directory.list("/many/");
  assert.deepEqual(
    listed.records.map(({ key }) => key),
    keys,
  );
  assert.equal(listed.revision, revision);
});

test("nobody listens: the call says which endpoints were asked, and why", options, async (t) => {
  const ports = await freePorts(2);
  const endpoints = ports.map((port) => `http://127.0.0.1:${port}`);
  const directory = new Bench(t).directory(endpoints, { callTimeoutMs: 250 });
  for (const call of [
    () => directory.get("a"),
    () => directory.grantLease(1000),
    () => put(directory, "a", "1"),
  ]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof CodedError);
      assert.equal(error.code, "directory-unavailable");
      for (const url of endpoints)
        assert.match(error.message, new RegExp(`${url}: .*ECONNREFUSED`));
      return true;
    });
  }
  assert.throws(() => new EtcdDirectory({ endpoints: ["127.0.0.1:2379"] }), {
    code: "address-invalid",
  });
});
