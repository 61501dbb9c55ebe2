/** A served directory and its clients while connections, servers and time are lost. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError, encodeUtf8, setU32 } from "../base/index.ts";
import type {
  ByteStream,
  Directory,
  DirectoryEvent,
  DirectoryWrite,
  NetworkAddress,
} from "../ports/index.ts";
import {
  MetadataMedium,
  NetworkFabric,
  SimLog,
  SimMachine,
  SimMetadataStore,
  SimNetwork,
  Simulation,
} from "../sim/index.ts";
import { parseClientMessage } from "./directory-messages.ts";
import { FrameStream } from "./frame-stream.ts";
import { EmbeddedDirectory, RemoteDirectoryClient, ServedDirectory } from "./index.ts";

const SERVER = "10.0.0.1";
const ADDRESS: NetworkAddress = { kind: "tcp", host: SERVER, port: 7000 };

/** One supervisor's machine, which may die and come back, and any number of clients' machines. */
class Scene {
  readonly simulation: Simulation;
  readonly fabric: NetworkFabric;
  readonly medium = new MetadataMedium();
  readonly log: SimLog;
  machine: SimMachine;
  embedded: EmbeddedDirectory | undefined;
  served: ServedDirectory | undefined;
  #incarnation = 0;
  #clientCount = 0;

  constructor(seed: number, buggify = false) {
    this.simulation = new Simulation({ seed, buggify, eventCountMax: 500_000 });
    this.fabric = new NetworkFabric(this.simulation);
    this.log = new SimLog(this.simulation.clock);
    this.machine = new SimMachine(this.simulation);
  }

  async start(): Promise<void> {
    const { clock } = this.machine;
    const store = new SimMetadataStore(this.machine, this.medium);
    this.embedded = await EmbeddedDirectory.open(store, clock);
    this.served = await ServedDirectory.listen({
      directory: this.embedded,
      network: new SimNetwork(this.machine, this.fabric, [SERVER]),
      address: ADDRESS,
      clock,
      incarnation: `run ${++this.#incarnation}`,
      log: this.log,
    });
  }

  /** Power goes, and what was not durable with it. */
  crash(kind: "all" | "none" = "none"): void {
    this.machine.cutPower({ kind });
    this.machine = new SimMachine(this.simulation);
  }

  client(): { directory: RemoteDirectoryClient; machine: SimMachine; address: string } {
    const machine = new SimMachine(this.simulation);
    const address = `10.0.1.${++this.#clientCount}`;
    const network = new SimNetwork(machine, this.fabric, [address]);
    const { clock } = machine;
    return {
      directory: new RemoteDirectoryClient({ network, address: ADDRESS, clock }),
      machine,
      address,
    };
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.simulation.run(work);
  }

  pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.simulation.clock.after(ms, resolve));
  }
}

class Seen {
  readonly values: string[] = [];
  losses = 0;
  #look: (() => void) | undefined;

  readonly onEvent = (event: DirectoryEvent): void => {
    this.values.push(event.kind === "put" ? event.record.value : "deleted");
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

async function put(directory: Directory, key: string, value: string): Promise<number> {
  return (await directory.transact([], [{ kind: "put", key, value }])).revision;
}

async function increment(directory: Directory): Promise<void> {
  for (;;) {
    const record = await directory.get("counter");
    const outcome = await directory.transact(
      [{ key: "counter", revision: record?.revision ?? 0 }],
      [{ kind: "put", key: "counter", value: String(Number(record?.value ?? 0) + 1) }],
    );
    if (outcome.succeeded) return;
  }
}

const upTo = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i + 1));

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof CodedError && error.code === code;

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`connections break all the time: each change happens once, each event comes once (seed ${seed})`, async () => {
    const scene = new Scene(seed, seed > 3);
    const clients = [scene.client(), scene.client(), scene.client()];
    await scene.run(async () => {
      await scene.start();
      const prng = scene.simulation.prng.fork();
      const phase = { isOver: false };
      const seen = clients.map(({ directory }) => {
        const one = new Seen();
        directory.watch("counter", 1, one.onEvent, one.onLost);
        return one;
      });
      const breaking = (async () => {
        while (!phase.isOver) {
          await scene.pass(prng.below(150));
          const { address } = clients[prng.below(clients.length)]!;
          if (prng.chance(0.7)) scene.fabric.resetStreams(address, SERVER);
          else {
            scene.fabric.partition([address], [SERVER]);
            await scene.pass(prng.below(1500));
            scene.fabric.heal();
          }
        }
      })();
      await Promise.all(
        clients.map(async ({ directory }) => {
          for (let i = 0; i < 40; i++) await increment(directory);
        }),
      );
      phase.isOver = true;
      await breaking;
      await Promise.all(seen.map((one) => one.until(({ values }) => values.length >= 120)));
      for (const one of seen) assert.deepEqual([one.values, one.losses], [upTo(120), 0]);
      assert.equal((await clients[0]!.directory.get("counter"))?.value, "120");
      for (const { directory } of clients) await directory.close();
      assert.equal(scene.served!.connectionCount, 0);
    });
  });
}

test("without a server, calls fail after the deadline, and work once it is there", async () => {
  const scene = new Scene(1);
  const { directory, machine } = scene.client();
  await scene.run(async () => {
    const startMs = machine.clock.nowMs();
    for (const call of [
      () => directory.get("a"),
      () => directory.list(""),
      () => put(directory, "a", "1"),
      () => directory.grantLease(1000),
      () => directory.keepAlive("1"),
    ]) {
      await assert.rejects(call, (error) => {
        assert.ok(hasCode("directory-unavailable")(error));
        assert.match((error as CodedError).message, /10\.0\.0\.1:7000/);
        return true;
      });
    }
    const tookMs = machine.clock.nowMs() - startMs;
    assert.ok(tookMs >= 25_000 && tookMs < 25_100, `${tookMs} ms`);
    await scene.start();
    await put(directory, "a", "1");
    assert.equal((await directory.get("a"))?.value, "1");
    await directory.close();
  });
});

test("the server goes silent: the calls fail, and one that changes something is unknown", async () => {
  const scene = new Scene(2);
  const { directory, address } = scene.client();
  await scene.run(async () => {
    await scene.start();
    await put(directory, "a", "1");
    // Requests arrive, answers do not.
    scene.fabric.block(SERVER, address);
    await assert.rejects(put(directory, "a", "2"), hasCode("directory-outcome-unknown"));
    await assert.rejects(directory.get("a"), hasCode("directory-unavailable"));
    // By now the connection was given up: this one was never sent.
    await assert.rejects(put(directory, "a", "3"), hasCode("directory-unavailable"));
    scene.fabric.heal();
    assert.equal((await directory.get("a"))?.value, "2");
    await directory.close();
  });
});

test("the server restarts: watches that had everything go on, others are lost", async () => {
  const scene = new Scene(3);
  const near = scene.client();
  const far = scene.client();
  await scene.run(async () => {
    await scene.start();
    const seen = new Seen();
    const behind = new Seen();
    near.directory.watch("", 1, seen.onEvent, seen.onLost);
    far.directory.watch("", 1, behind.onEvent, behind.onLost);
    await put(near.directory, "a", "1");
    await Promise.all([seen, behind].map((one) => one.until(({ values }) => values.length === 1)));
    scene.fabric.partition([far.address], [SERVER]);
    scene.fabric.resetStreams(far.address, SERVER);
    await put(near.directory, "a", "2");
    await seen.until(({ values }) => values.length === 2);
    scene.crash();
    await scene.start();
    scene.fabric.heal();
    assert.equal((await near.directory.get("a"))?.value, "2");
    await put(near.directory, "a", "3");
    await seen.until(({ values }) => values.length === 3);
    await behind.until(({ losses }) => losses > 0);
    assert.deepEqual([seen.values, seen.losses], [["1", "2", "3"], 0]);
    assert.deepEqual([behind.values, behind.losses], [["1"], 1]);
  });
});

test("the server dies with a transaction under way: nobody says that it failed", async () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 40; seed++) {
    const scene = new Scene(seed);
    const { directory } = scene.client();
    await scene.run(async () => {
      await scene.start();
      await directory.get("a");
      const change = put(directory, "a", "1").then(
        () => "done",
        (error: unknown) => (error instanceof CodedError ? error.code : String(error)),
      );
      await scene.pass(0.1 * (seed % 20));
      // A killed process leaves what it had asked for, a power cut what was durable.
      scene.crash(seed % 2 === 0 ? "all" : "none");
      await scene.start();
      const outcome = await change;
      const record = await directory.get("a");
      if (outcome === "done") assert.equal(record?.value, "1");
      else assert.equal(outcome, "directory-outcome-unknown");
      outcomes.add(`${outcome}, ${record === undefined ? "not " : ""}there`);
      await directory.close();
    });
  }
  const all = ["directory-outcome-unknown, not there", "directory-outcome-unknown, there"];
  assert.deepEqual([...outcomes].sort(), [...all, "done, there"]);
});

test("a lease lives on while its client connects again, and ends when it cannot", async () => {
  const scene = new Scene(4);
  const { directory, address } = scene.client();
  await scene.run(async () => {
    await scene.start();
    const lease = await directory.grantLease(3000);
    await directory.transact([], [{ kind: "put", key: "a", value: "1", lease }]);
    scene.fabric.resetStreams(address, SERVER);
    await scene.pass(1000);
    const leftMs = await directory.keepAlive(lease);
    assert.ok(leftMs > 2900 && leftMs < 3000, `${leftMs} ms left, less the way there and back`);
    scene.fabric.partition([address], [SERVER]);
    await scene.pass(3500);
    scene.fabric.heal();
    assert.equal(await directory.keepAlive(lease), 0);
    assert.equal(await directory.get("a"), undefined);
    const write: DirectoryWrite = { kind: "put", key: "a", value: "1", lease };
    await assert.rejects(directory.transact([], [write]), hasCode("lease-ended"));
    await assert.rejects(directory.grantLease(1), hasCode("lease-ttl-invalid"));
    await directory.close();
    await assert.rejects(directory.get("a"), hasCode("directory-closed"));
  });
});

test("a large listing and a revision of many events arrive whole", async () => {
  const scene = new Scene(5);
  const { directory } = scene.client();
  await scene.run(async () => {
    await scene.start();
    const seen = new Seen();
    directory.watch("", 1, seen.onEvent, seen.onLost);
    const value = "v".repeat(20_000);
    const writes = Array.from({ length: 120 }, (_, i) => {
      return { kind: "put", key: `many/${String(i).padStart(3, "0")}`, value } as const;
    });
    const { revision } = await directory.transact([], writes);
    const listed = await directory.list("many/");
    assert.equal(listed.revision, revision);
    assert.deepEqual(
      listed.records,
      writes.map(({ key }) => ({ key, value, revision })),
    );
    await seen.until(({ values }) => values.length === 120);
    await directory.close();
  });
});

test("the stamp of a server that knows no stamps is told by the records that it answers with", async () => {
  const scene = new Scene(7);
  const { directory } = scene.client();
  const records = [4, 9, 2].map((revision) => ({ key: `a/${revision}`, value: "", revision }));
  await scene.run(async () => {
    const network = new SimNetwork(scene.machine, scene.fabric, [SERVER]);
    await network.listen(ADDRESS, (stream) => {
      const frames = new FrameStream(stream, {
        frame: (value) => {
          const message = parseClientMessage(value);
          if (message.kind === "hello")
            frames.send({ kind: "welcome", session: "s", isResumed: false });
          if (message.kind !== "call") return;
          assert.equal(message.call.method, "list");
          frames.send({ kind: "records", id: message.id, records });
          frames.send({ kind: "answer", id: message.id, answer: { revision: 12 } });
        },
        closed: () => {},
      });
    });
    assert.deepEqual(await directory.stamp("a/"), { count: 3, newestRevision: 9 });
    await directory.close();
  });
});

test("a client that talks nonsense is cut off, and the others are served", async () => {
  const scene = new Scene(6);
  const { directory, machine } = scene.client();
  const stranger = new SimNetwork(machine, scene.fabric, ["10.0.2.1"]);
  await scene.run(async () => {
    await scene.start();
    const hello = frame('{"kind":"hello","protocol":1}');
    for (const bytes of [
      frame("nonsense"),
      frame("[]"),
      frame('{"kind":"hello","protocol":2}'),
      frame('{"kind":"ping"}'),
      join(hello, hello),
      join(hello, frame('{"kind":"call","id":1,"settled":1,"call":{"method":"rm","key":"a"}}')),
      join(hello, frame('{"kind":"watch","watch":-1,"prefix":"","fromRevision":1}')),
      head(16 * 1024 * 1024 + 1),
      head(0xffff_ffff),
    ])
      await cutOff(await stranger.connect(ADDRESS), bytes);
    await put(directory, "a", "1");
    await directory.close();
    assert.equal(scene.served!.connectionCount, 0);
  });
});

test("a client that says nothing for a minute is let go, one without work stays", async () => {
  const scene = new Scene(7);
  const { directory, machine } = scene.client();
  const stranger = new SimNetwork(machine, scene.fabric, ["10.0.2.1"]);
  await scene.run(async () => {
    await scene.start();
    await put(directory, "a", "1");
    await cutOff(await stranger.connect(ADDRESS), frame('{"kind":"hello","protocol":1}'));
    assert.equal(scene.served!.connectionCount, 1);
    const warnings = scene.log.lines.filter(({ level }) => level === "warning");
    assert.deepEqual(warnings, []);
    await directory.close();
  });
});

function head(lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(4);
  setU32(bytes, 0, lengthBytes);
  return bytes;
}

function frame(text: string): Uint8Array {
  const body = encodeUtf8(text);
  return join(head(body.length), body);
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  return Uint8Array.from([...a, ...b]);
}

/** Resolves when the other end has closed the stream. */
function cutOff(stream: ByteStream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    stream.start({
      data: () => undefined,
      written: () => undefined,
      drained: () => undefined,
      ended: () => stream.destroy(),
      closed: () => resolve(),
    });
    stream.write(bytes, -1);
  });
}
