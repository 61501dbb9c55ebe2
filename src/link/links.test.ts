import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError, Prng } from "../base/index.ts";
import { decodeLinkHeader, encodeLinkHeader, LINK_HEADER_BYTES } from "../format/index.ts";
import type { ByteStream, Network, StreamPeer } from "../ports/index.ts";
import { NetworkFabric, SimLog, SimMachine, SimNetwork, Simulation } from "../sim/index.ts";
import { ChunkPool } from "./chunk-pool.ts";
import { FrameReader } from "./frame-reader.ts";
import { Patience } from "./patience.ts";
import { Links } from "./links.ts";
import { readVersions } from "./spoken-versions.ts";
import type { SpokenVersions } from "./spoken-versions.ts";

const PORT = 7401;

interface Host {
  readonly machine: SimMachine;
  readonly network: SimNetwork;
  readonly links: Links;
  readonly log: SimLog;
  readonly changes: string[];
}

const addressOf = (name: string): string => `10.0.0.${name}`;

async function host(
  fabric: NetworkFabric,
  name: string,
  options: {
    readonly clusterId?: string;
    readonly peers?: string;
    /** Whose certificate everybody shows to this host. */
    readonly shown?: StreamPeer;
    readonly speaks?: SpokenVersions;
  } = {},
): Promise<Host> {
  const machine = new SimMachine(fabric.simulation);
  const network = new SimNetwork(machine, fabric, [addressOf(name)]);
  const log = new SimLog(machine.clock);
  const links = new Links(
    { network: certified(network, options.shown), clock: machine.clock, log },
    {
      clusterId: options.clusterId ?? "c1",
      hostId: name,
      incarnation: 1,
      network: "storage",
    },
    options.speaks,
  );
  const changes: string[] = [];
  links.onChange((hostId, isUp) => changes.push(`${hostId} ${isUp ? "up" : "down"}`));
  links.handle("echo", async ({ argument, payload }) => ({
    result: argument,
    payload: payload.slice(),
  }));
  links.handle("refuse", async () => {
    throw new CodedError({ code: "too-late", message: "it is too late", hint: "come earlier" });
  });
  await links.listen({ kind: "tcp", host: addressOf(name), port: PORT });
  links.setPeers(
    Array.from(options.peers ?? "ab").map((peer) => ({
      hostId: peer,
      address: { kind: "tcp", host: addressOf(peer), port: PORT },
    })),
  );
  return { machine, network, links, log, changes };
}

function certified(network: Network, peer: StreamPeer | undefined): Network {
  if (peer === undefined) return network;
  return {
    listen: (address, accept) =>
      network.listen(address, (stream) => accept(Object.assign(stream, { peer }))),
    connect: async (address) => Object.assign(await network.connect(address), { peer }),
  };
}

async function twoHosts(
  work: (a: Host, b: Host, fabric: NetworkFabric) => Promise<void>,
  seed = 1,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const fabric = new NetworkFabric(simulation);
  await simulation.run(async () => {
    const a = await host(fabric, "a");
    const b = await host(fabric, "b");
    await until(
      simulation,
      () => a.links.peer("b")?.isUp === true && b.links.peer("a")?.isUp === true,
    );
    await work(a, b, fabric);
  });
}

async function until(simulation: Simulation, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3000 && !condition(); i++)
    await new Promise<void>((resolve) => void simulation.clock.after(10, resolve));
  assert.ok(condition(), "it did not come");
}

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof CodedError && error.code === code;

test("calls go both ways over one link, with bytes, and faults cross word for word", async () => {
  await twoHosts(async (a, b) => {
    const payload = new Uint8Array(300_000).fill(7);
    const answer = await a.links.call("b", "echo", { text: "käse", n: 1 }, { payload: [payload] });
    assert.deepEqual(answer.result, { text: "käse", n: 1 });
    assert.deepEqual(answer.payload, payload);
    const many = Array.from({ length: 200 }, (_, i) => b.links.call("a", "echo", i));
    assert.deepEqual(
      (await Promise.all(many)).map(({ result }) => result),
      [...many.keys()],
    );
    await assert.rejects(a.links.call("b", "refuse", null), (error) => {
      return hasCode("too-late")(error) && (error as CodedError).fault.hint === "come earlier";
    });
    await assert.rejects(a.links.call("b", "nothing", null), hasCode("method-unknown"));
    await assert.rejects(a.links.call("z", "echo", null), hasCode("host-unreachable"));
  });
});

/** Until both have heard the other often enough to know what their network is like. */
async function acquainted(simulation: Simulation): Promise<void> {
  await new Promise<void>((resolve) => void simulation.clock.after(10_000, resolve));
}

test("silence ends a link within a bound, everything under way fails, and it heals", async () => {
  await twoHosts(async (a, b, fabric) => {
    const { simulation } = fabric;
    await acquainted(simulation);
    b.links.handle("never", () => new Promise(() => {}));
    const waiting = a.links.call("b", "never", null, { deadlineMs: 60_000 });
    fabric.partition([addressOf("a")], [addressOf("b")]);
    const begin = simulation.nowMs;
    await assert.rejects(waiting, hasCode("host-unreachable"));
    assert.ok(simulation.nowMs - begin < 2500, `${simulation.nowMs - begin} ms`);
    await assert.rejects(a.links.call("b", "echo", 1), hasCode("host-unreachable"));
    await until(simulation, () => b.links.peer("a")?.isUp === false);
    assert.ok(!a.links.isProvenDead("b"), "silence proves nothing");
    fabric.heal();
    await until(simulation, () => a.links.peer("b")?.isUp === true);
    assert.deepEqual(a.changes, ["b up", "b down", "b up"]);
  });
});

test("a cut in one direction ends the link at both ends", async () => {
  await twoHosts(async (a, b, fabric) => {
    fabric.block(addressOf("b"), addressOf("a"));
    await until(fabric.simulation, () => a.links.peer("b")?.isUp === false);
    await until(fabric.simulation, () => b.links.peer("a")?.isUp === false);
  });
});

test("a process that is gone is proven dead by its machine, on both sides of the order", async () => {
  for (const [victim, other] of ["ab", "ba"]) {
    await twoHosts(async (a, b, fabric) => {
      const [dead, alive] = victim === "a" ? [a, b] : [b, a];
      dead.network.kill();
      await until(fabric.simulation, () => alive.links.peer(victim!)?.isUp === false);
      await until(fabric.simulation, () => alive.links.isProvenDead(victim!));
      assert.equal(other, victim === "a" ? "b" : "a");
    });
  }
});

test("a proof of death is not believed once the process may be there again", async () => {
  await twoHosts(async (a, b, fabric) => {
    const { simulation } = fabric;
    b.network.kill();
    await until(simulation, () => a.links.isProvenDead("b"));
    assert.ok(await a.links.confirmDead("b"));
    // It starts again, and before anybody was told its cable is pulled.
    b.machine.cutPower({ kind: "all" });
    const again = await host(fabric, "b");
    fabric.partition([addressOf("a")], [addressOf("b")]);
    assert.ok(a.links.isProvenDead("b"), "what was heard last is that it is gone");
    assert.ok(!(await a.links.confirmDead("b")), "silence proves nothing");
    assert.ok(!a.links.isProvenDead("b"));
    await again.links.close();
  });
});

test("delays and jitter of half a second are no reason to call anybody dead", async () => {
  await twoHosts(async (a, b, fabric) => {
    fabric.latency = { minMs: 1, maxMs: 500 };
    await new Promise<void>((resolve) => void fabric.simulation.clock.after(3_600_000, resolve));
    assert.deepEqual([a.changes, b.changes], [["b up"], ["a up"]]);
    await a.links.close();
    await b.links.close();
  });
});

/** Hours of a network that loses one packet in twenty; 1,000 in the long version. */
const ROUGH_RUNS = process.env["DRYSTONE_LONG"] === "1" ? 100 : 1;
const ROUGH_HOURS = process.env["DRYSTONE_LONG"] === "1" ? 10 : 1;

test("lost packets and jitter are no reason to call anybody dead", async (context) => {
  let alarms = 0;
  for (let seed = 1; seed <= ROUGH_RUNS; seed++)
    await twoHosts(async (a, b, fabric) => {
      fabric.latency = { minMs: 1, maxMs: 500 };
      fabric.lossRate = 0.05;
      const ms = ROUGH_HOURS * 3_600_000;
      await new Promise<void>((resolve) => void fabric.simulation.clock.after(ms, resolve));
      alarms += [...a.changes, ...b.changes].filter((change) => /down/.test(change)).length;
      await a.links.close();
      await b.links.close();
    }, seed);
  context.diagnostic(`${alarms} false alarms in ${ROUGH_RUNS * ROUGH_HOURS} hours`);
  assert.equal(alarms, 0);
});

test("a rough network gets more time, and a quiet one none", () => {
  const patience = new Patience();
  assert.equal(patience.silenceMs(0), 4000);
  for (let ms = 500; ms <= 4000; ms += 500) patience.heard(ms, 500);
  assert.equal(patience.silenceMs(4000), 2000);
  patience.heard(4600, 600);
  assert.equal(patience.silenceMs(4600), 2300);
  for (let ms = 5000; ms < 80_000; ms += 400) patience.heard(ms, 400);
  assert.equal(patience.silenceMs(80_000), 2000);
  patience.heard(81_000, 1100);
  patience.heard(82_000, 1400);
  assert.equal(patience.silenceMs(82_000), 4000);
  patience.heard(83_000, 1100);
  assert.equal(patience.silenceMs(83_000), 6000);
  for (let ms = 84_000; ms < 400_000; ms += 400) patience.heard(ms, 400);
  assert.equal(patience.silenceMs(400_000), 2000);
});

test("one end of a quiet link asks, the other one hears that, and neither is called silent", async () => {
  await twoHosts(async (a, b, { simulation }) => {
    const before = { a: a.links.counters.messagesOut, b: b.links.counters.messagesOut };
    const changes = a.changes.length + b.changes.length;
    await new Promise<void>((resolve) => void simulation.clock.after(60_000, resolve));
    const sent = (of: "a" | "b", { links }: Host): number =>
      links.counters.messagesOut - before[of];
    // A ping or a pong each half second, and few that only measure.
    const [byA, byB] = [sent("a", a), sent("b", b)];
    assert.ok(byA >= 110 && byA <= 130 && byB >= 110 && byB <= 130, `${byA} and ${byB} messages`);
    const seenByB = b.links
      .peer("a")!
      .roundTrips.view()
      .buckets.reduce((sum, one) => sum + one, 0);
    assert.ok(seenByB >= 4, `${seenByB} round trips`);
    assert.equal(a.changes.length + b.changes.length, changes);
  });
});

test("a cable that is pulled again and again is noticed as soon each time", async () => {
  await twoHosts(async (a, b, fabric) => {
    const { simulation } = fabric;
    await acquainted(simulation);
    for (let round = 0; round < 8; round++) {
      fabric.partition([addressOf("a")], [addressOf("b")]);
      const begin = simulation.nowMs;
      await until(simulation, () => a.links.peer("b")?.isUp === false);
      const tookMs = simulation.nowMs - begin;
      assert.ok(tookMs < 2300, `round ${round}: ${tookMs} ms`);
      await new Promise<void>((resolve) => void simulation.clock.after(1500, resolve));
      fabric.heal();
      const isLinked = (): boolean => a.links.linkTo("b") !== undefined;
      await until(simulation, () => isLinked() && b.links.linkTo("a") !== undefined);
    }
  });
});

test("hosts that are there right after they were called silent get more time", async () => {
  await twoHosts(async (a, _b, fabric) => {
    const { simulation } = fabric;
    await acquainted(simulation);
    const pull = async (): Promise<number> => {
      fabric.partition([addressOf("a")], [addressOf("b")]);
      const begin = simulation.nowMs;
      await until(simulation, () => a.links.peer("b")?.isUp === false);
      const tookMs = simulation.nowMs - begin;
      fabric.heal();
      await until(simulation, () => a.links.peer("b")?.isUp === true);
      return tookMs;
    };
    for (let round = 0; round < 3; round++) assert.ok((await pull()) < 2300);
    assert.ok((await pull()) > 5000);
  });
});

test("a host cannot speak for another: its hello must agree with its certificate", async () => {
  for (const hostId of ["b", "c"]) {
    const simulation = new Simulation({ seed: 1 });
    const fabric = new NetworkFabric(simulation);
    await simulation.run(async () => {
      const a = await host(fabric, "a", { shown: { clusterId: "c1", hostId } });
      const b = await host(fabric, "b", { shown: { clusterId: "c1", hostId: "a" } });
      if (hostId === "b") await until(simulation, () => a.links.linkTo("b") !== undefined);
      else await until(simulation, () => /certificate is of c/.test(JSON.stringify(a.log.lines)));
      assert.equal(a.changes.length, hostId === "b" ? 1 : 0);
      await a.links.close();
      await b.links.close();
    });
  }
});

test("a host of another cluster is refused, and both sides say so", async () => {
  const simulation = new Simulation({ seed: 2 });
  const fabric = new NetworkFabric(simulation);
  await simulation.run(async () => {
    const a = await host(fabric, "a", { clusterId: "c1" });
    const b = await host(fabric, "b", { clusterId: "c2" });
    await until(simulation, () => /belongs to cluster c1/.test(a.links.peer("b")?.reason ?? ""));
    assert.ok(b.log.lines.some(({ message }) => /belongs to cluster c1, not to c2/.test(message)));
    assert.deepEqual([a.changes, b.changes], [[], []]);
    await a.links.close();
    await b.links.close();
  });
});

async function withVersions(
  a: SpokenVersions,
  b: SpokenVersions,
  work: (a: Host, b: Host, fabric: NetworkFabric) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed: 3 });
  const fabric = new NetworkFabric(simulation);
  await simulation.run(async () => {
    const older = await host(fabric, "a", { speaks: a });
    const newer = await host(fabric, "b", { speaks: b });
    await work(older, newer, fabric);
    await older.links.close();
    await newer.links.close();
  });
}

test("hosts of different versions speak the newest that both know", async () => {
  const versions = [
    [{ oldest: 1, newest: 1 }, { oldest: 1, newest: 2 }, 1],
    [{ oldest: 3, newest: 4 }, { oldest: 1, newest: 3 }, 3],
    [{ oldest: 2, newest: 5 }, { oldest: 1, newest: 9 }, 5],
  ] as const;
  for (const [ofA, ofB, spoken] of versions)
    await withVersions(ofA, ofB, async (a, b, { simulation }) => {
      await until(simulation, () => a.links.peer("b")?.isUp === true);
      await until(simulation, () => b.links.peer("a")?.isUp === true);
      assert.equal(a.links.peer("b")?.spokenVersion, spoken);
      assert.equal(b.links.peer("a")?.spokenVersion, spoken);
      assert.equal((await a.links.call("b", "echo", 7)).result, 7);
    });
});

test("hosts without a version in common refuse each other, and say which is to be upgraded", async () => {
  const [older, newer] = [
    { oldest: 1, newest: 2 },
    { oldest: 3, newest: 3 },
  ];
  for (const [ofA, ofB] of [
    [older, newer],
    [newer, older],
  ] as const)
    await withVersions(ofA, ofB, async (a, b, { simulation }) => {
      const isTold = /speaks? version.* of the messages between hosts.*: upgrade the older one/;
      await until(simulation, () => isTold.test(a.links.peer("b")?.reason ?? ""));
      assert.ok(b.log.lines.some(({ message }) => isTold.test(message)));
      assert.deepEqual([a.changes, b.changes], [[], []]);
    });
});

test("what a hello says of versions is checked, and may be missing", () => {
  assert.deepEqual(readVersions(undefined, undefined), { oldest: 1, newest: 1 });
  assert.deepEqual(readVersions(4, undefined), { oldest: 4, newest: 4 });
  assert.deepEqual(readVersions(4, 2), { oldest: 2, newest: 4 });
  for (const [version, oldest] of [
    ["1", 1],
    [1.5, 1],
    [1, 2],
    [0, 0],
    [-1, -2],
    [2, {}],
  ])
    assert.equal(readVersions(version, oldest), undefined);
});

test("a stranger is refused, and a host that is no peer any more is cut off", async () => {
  await twoHosts(async (a, b, fabric) => {
    const c = await host(fabric, "0", { peers: "ab" });
    await until(fabric.simulation, () => /not a member/.test(c.links.peer("a")?.reason ?? ""));
    b.links.setPeers([]);
    await until(fabric.simulation, () => a.links.peer("b")?.isUp === false);
    await c.links.close();
  });
});

test("bytes that are no messages cost their own link and nothing else", async () => {
  await twoHosts(async (a, b, fabric) => {
    const machine = new SimMachine(fabric.simulation);
    const network = new SimNetwork(machine, fabric, ["10.0.0.99"]);
    const prng = new Prng(4);
    for (let round = 0; round < 60; round++) {
      const stream = await network.connect({ kind: "tcp", host: addressOf("b"), port: PORT });
      let isClosed = false;
      stream.start({
        data: () => {},
        written: () => {},
        drained: () => {},
        ended: () => void (isClosed = true),
        closed: () => void (isClosed = true),
      });
      send(stream, prng);
      await until(fabric.simulation, () => isClosed);
    }
    assert.deepEqual((await a.links.call("b", "echo", "well")).result, "well");
    assert.deepEqual(b.changes, ["a up"]);
  });
});

/** A hello that is damaged, cut, too long, or something else altogether. */
function send(stream: ByteStream, prng: Prng): void {
  const text = JSON.stringify({ clusterId: "c1", hostId: "x", incarnation: 1, network: "storage" });
  const body = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const bytes = new Uint8Array(LINK_HEADER_BYTES + body.length);
  const type = prng.pick([1, 1, 2, 6, 16, 18, 20, 4]);
  encodeLinkHeader(bytes, 0, type, prng.chance(0.2) ? 2 ** 31 : body.length, prng.u32());
  bytes.set(body, LINK_HEADER_BYTES);
  if (type === 1 || prng.chance(0.5)) bytes[prng.below(bytes.length)]! ^= 1 << prng.below(8);
  stream.write(bytes, -1);
}

test("a reader cuts messages out of pieces of any size", () => {
  const prng = new Prng(7);
  for (let round = 0; round < 200; round++) {
    const sent: Uint8Array[] = [];
    const all: number[] = [];
    for (let i = 0; i < 20; i++) {
      const body = new Uint8Array(prng.pick([0, 1, 7, 100, 5000]));
      prng.fill(body);
      const message = new Uint8Array(LINK_HEADER_BYTES + body.length);
      encodeLinkHeader(message, 0, 6, body.length, i);
      message.set(body, LINK_HEADER_BYTES);
      sent.push(body);
      all.push(...message);
    }
    const seen: Uint8Array[] = [];
    const reader = new FrameReader(new ChunkPool(), (header, bytes, start, end) => {
      assert.equal(header.requestId, seen.length);
      seen.push(bytes.slice(start, end));
    });
    const stream = Uint8Array.from(all);
    for (let at = 0; at < stream.length;) {
      const length = prng.pick([1, 3, 19, 20, 21, 1000, 100_000]);
      assert.equal(reader.push(stream.slice(at, at + length)), undefined);
      at += length;
    }
    assert.deepEqual(seen, sent);
  }
});

test("a header with any flipped bit is no header", () => {
  const bytes = new Uint8Array(LINK_HEADER_BYTES);
  encodeLinkHeader(bytes, 0, 16, 4096, 77);
  const into = { type: 0, bodyBytes: 0, requestId: 0 };
  assert.equal(decodeLinkHeader(bytes, 0, into), undefined);
  assert.deepEqual(into, { type: 16, bodyBytes: 4096, requestId: 77 });
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.notEqual(decodeLinkHeader(bytes, 0, into), undefined, `bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test("a host that is back before its old link was found dead is told as down in between", async () => {
  await twoHosts(async (a, b, fabric) => {
    const { simulation } = fabric;
    a.machine.cutPower({ kind: "none" });
    const again = await host(fabric, "a");
    await until(simulation, () => again.links.peer("b")?.isUp === true);
    assert.deepEqual(b.changes, ["a up", "a down", "a up"]);
  });
});

test("round trips are those of each ping, also where they take longer than pings are apart", async () => {
  await twoHosts(async (a, _b, fabric) => {
    fabric.latency = { minMs: 300, maxMs: 300 };
    const { roundTrips } = a.links.peer("b")!;
    const pings = (): number => roundTrips.view().buckets.reduce((sum, one) => sum + one, 0);
    // Pings under way when the network became slow.
    const begin = pings() + 3;
    await until(fabric.simulation, () => pings() >= begin);
    const from = { count: pings(), totalMs: roundTrips.view().totalMs };
    await until(fabric.simulation, () => pings() >= from.count + 10);
    const meanMs = (roundTrips.view().totalMs - from.totalMs) / (pings() - from.count);
    assert.ok(meanMs >= 600 && meanMs < 650, `${meanMs} ms`);
  });
});
