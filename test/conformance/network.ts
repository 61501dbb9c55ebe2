/** What every `Network` promises, as tests. Each runs once per kind of address. */
import assert from "node:assert/strict";
import { AssertionError, Prng } from "../../src/base/index.ts";
import type {
  ByteStream,
  ByteStreamHandler,
  Listener,
  Network,
  NetworkAddress,
} from "../../src/ports/index.ts";
import { registerSuite, type Promises, type World } from "./world.ts";

export interface NetworkWorld extends World {
  readonly network: Network;
  /** An address nobody listens on: port 0 for TCP, a path of its own each time for unix sockets. */
  readonly freshAddress: () => NetworkAddress;
  /** Leaves at the address what a process leaves that was killed while it listened there. */
  leaveStale?(address: NetworkAddress): Promise<void>;
}

/** Writes down what happens to a stream, and lets a test wait for it. */
class Witness implements ByteStreamHandler {
  readonly stream: ByteStream;
  readonly pieces: Buffer[] = [];
  readonly tokens: number[] = [];
  receivedBytes = 0;
  drains = 0;
  hasEnded = false;
  closings: (string | undefined)[] = [];
  onPiece: (() => void) | undefined;
  #waiting: { condition: () => boolean; resolve: () => void }[] = [];
  #isInCall = false;

  constructor(stream: ByteStream) {
    this.stream = stream;
    this.outside(() => stream.start(this));
  }

  /** Runs a call on the stream, during which no callback may come. */
  outside<T>(call: () => T): T {
    this.#isInCall = true;
    try {
      return call();
    } finally {
      this.#isInCall = false;
    }
  }

  async until(condition: (witness: this) => boolean): Promise<void> {
    if (condition(this)) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ condition: () => condition(this), resolve });
    });
  }

  received(): Buffer {
    return Buffer.concat(this.pieces);
  }

  data(bytes: Uint8Array): void {
    assert.equal(this.hasEnded, false, "data after the end");
    assert.ok(bytes.length > 0, "a piece of nothing");
    // Those who keep a piece take a `slice` of it, which for a Buffer would be no copy.
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype, "bytes of another kind");
    this.pieces.push(Buffer.from(bytes));
    this.receivedBytes += bytes.length;
    this.onPiece?.();
    this.#happened();
  }

  written(token: number): void {
    this.tokens.push(token);
    this.#happened();
  }

  drained(): void {
    this.drains++;
    this.#happened();
  }

  ended(): void {
    assert.equal(this.hasEnded, false, "ended twice");
    this.hasEnded = true;
    this.#happened();
  }

  closed(reason: string | undefined): void {
    this.closings.push(reason);
    this.#happened();
  }

  get isClosed(): boolean {
    return this.closings.length > 0;
  }

  #happened(): void {
    assert.equal(this.#isInCall, false, "a callback came from inside a call");
    assert.ok(this.closings.length <= 1, "a callback came after closed");
    const ready = this.#waiting.filter(({ condition }) => condition());
    this.#waiting = this.#waiting.filter((waiter) => !ready.includes(waiter));
    for (const { resolve } of ready) resolve();
  }
}

interface Pair {
  readonly near: Witness;
  readonly far: Witness;
  readonly listener: Listener;
}

async function listenAndConnect(world: NetworkWorld): Promise<{
  client: ByteStream;
  server: ByteStream;
  listener: Listener;
}> {
  const accepted: ByteStream[] = [];
  let resolve: (() => void) | undefined;
  const listener = await world.network.listen(world.freshAddress(), (stream) => {
    accepted.push(stream);
    resolve?.();
  });
  const client = await world.network.connect(listener.address);
  if (accepted.length === 0) await new Promise<void>((done) => (resolve = done));
  return { client, server: accepted[0]!, listener };
}

async function pair(world: NetworkWorld): Promise<Pair> {
  const { client, server, listener } = await listenAndConnect(world);
  return { near: new Witness(client), far: new Witness(server), listener };
}

async function finish({ near, far, listener }: Pair): Promise<void> {
  near.stream.destroy();
  far.stream.destroy();
  await Promise.all([near.until((end) => end.isClosed), far.until((end) => end.isClosed)]);
  await listener.close();
}

function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  new Prng(seed).fill(bytes);
  return bytes;
}

/** Writes everything in pieces of random size, waiting for `drained` when told to. */
async function pour(end: Witness, bytes: Uint8Array, seed: number): Promise<number> {
  const prng = new Prng(seed);
  let token = 0;
  for (let at = 0; at < bytes.length; token++) {
    const length = Math.min(prng.between(1, 100_000), bytes.length - at);
    const drains = end.drains;
    const piece = bytes.subarray(at, at + length);
    const mayGoOn = end.outside(() => end.stream.write(piece, token));
    if (!mayGoOn) await end.until((one) => one.drains > drains);
    at += length;
  }
  return token;
}

const transfer: Promises<NetworkWorld> = {
  "bytes arrive in order, both ways at once": async (world) => {
    const both = await pair(world);
    const there = noise(3_000_000, 1);
    const back = noise(2_000_000, 2);
    await Promise.all([
      pour(both.near, there, 3),
      pour(both.far, back, 4),
      both.far.until((end) => end.receivedBytes >= there.length),
      both.near.until((end) => end.receivedBytes >= back.length),
    ]);
    assert.equal(both.far.received().compare(there), 0);
    assert.equal(both.near.received().compare(back), 0);
    await finish(both);
  },
  "each token comes back once, negative ones never": async (world) => {
    const both = await pair(world);
    const count = await pour(both.near, noise(1_000_000, 5), 6);
    const last = noise(100, 7);
    for (const token of [-1, count, -2]) both.near.stream.write(last, token);
    await both.near.until((end) => end.tokens.length > count);
    await both.far.until((end) => end.receivedBytes === 1_000_300);
    assert.deepEqual(both.near.tokens.toSorted(ascending), [...Array(count + 1).keys()]);
    await finish(both);
  },
  "what was sent before the stream is started arrives after": async (world) => {
    const { client, server, listener } = await listenAndConnect(world);
    const near = new Witness(client);
    const bytes = noise(10_000, 8);
    near.stream.write(bytes, 1);
    await near.until((end) => end.tokens.length === 1);
    const far = new Witness(server);
    await far.until((end) => end.receivedBytes === bytes.length);
    assert.equal(far.received().compare(bytes), 0);
    await finish({ near, far, listener });
  },
  "streams do not mix": async (world) => {
    const pairs = await Promise.all(Array.from({ length: 8 }, () => pair(world)));
    await Promise.all(
      pairs.map(async (one, i) => {
        const bytes = noise(200_000 + i, 100 + i);
        await pour(one.near, bytes, i);
        await one.far.until((end) => end.receivedBytes >= bytes.length);
        assert.equal(one.far.received().compare(bytes), 0);
      }),
    );
    await Promise.all(pairs.map(finish));
  },
  "one listener accepts many, each a stream of its own": async (world) => {
    const accepted: Witness[] = [];
    const listener = await world.network.listen(world.freshAddress(), (stream) => {
      const far = new Witness(stream);
      accepted.push(far);
      void far.until((end) => end.hasEnded).then(() => stream.end());
    });
    const clients: Witness[] = [];
    for (let i = 0; i < 5; i++) {
      const client = new Witness(await world.network.connect(listener.address));
      clients.push(client);
      client.stream.write(new Uint8Array([i]), 0);
      client.stream.end();
    }
    await Promise.all(clients.map((client) => client.until((end) => end.isClosed)));
    assert.ok(clients.every((client) => client.closings[0] === undefined));
    const firsts = accepted.flatMap((far) => [...far.received()]).toSorted(ascending);
    assert.deepEqual(firsts, [0, 1, 2, 3, 4]);
    await listener.close();
  },
};

const ascending = (a: number, b: number): number => a - b;

const backpressure: Promises<NetworkWorld> = {
  "a reader that pauses stops the writer, and all arrives once it resumes": async (world) => {
    const both = await pair(world);
    both.far.outside(() => both.far.stream.pause());
    const block = noise(64 * 1024, 9);
    let count = 0;
    while (both.near.stream.write(block, count++)) {
      assert.ok(count < 1000, "no backpressure after 64 MB");
    }
    assert.equal(both.near.drains, 0);
    both.far.outside(() => both.far.stream.resume());
    await both.near.until((end) => end.drains > 0 && end.tokens.length === count);
    await both.far.until((end) => end.receivedBytes === count * block.length);
    await finish(both);
  },
  "nothing is delivered while paused": async (world) => {
    const both = await pair(world);
    const other = await pair(world);
    let paused = 0;
    both.far.onPiece = () => {
      both.far.stream.pause();
      paused++;
    };
    const sent = pour(both.near, noise(300_000, 10), 11);
    await both.far.until(() => paused === 1);
    // Two round trips on another stream give a wrong piece the time to come.
    for (let trip = 1; trip <= 2; trip++) {
      other.near.stream.write(new Uint8Array([1]), -1);
      await other.far.until((end) => end.receivedBytes === trip);
      other.far.stream.write(new Uint8Array([1]), -1);
      await other.near.until((end) => end.receivedBytes === trip);
    }
    assert.equal(paused, 1);
    both.far.onPiece = undefined;
    both.far.stream.resume();
    await sent;
    await both.far.until((end) => end.receivedBytes === 300_000);
    await Promise.all([finish(both), finish(other)]);
  },
  "a reader that pauses at each piece gets all of it in order, and the end behind it": async (
    world,
  ) => {
    const both = await pair(world);
    let isPaused = false;
    both.far.onPiece = () => {
      assert.equal(isPaused, false);
      assert.equal(both.far.hasEnded, false);
      isPaused = true;
      both.far.stream.pause();
      queueMicrotask(() => {
        isPaused = false;
        both.far.outside(() => both.far.stream.resume());
      });
    };
    const bytes = noise(700_000, 16);
    await pour(both.near, bytes, 17);
    both.near.stream.end();
    await both.far.until((end) => end.hasEnded);
    assert.equal(both.far.received().compare(bytes), 0);
    both.far.stream.destroy();
    await Promise.all([both.near, both.far].map((one) => one.until((end) => end.isClosed)));
    await both.listener.close();
  },
};

const closing: Promises<NetworkWorld> = {
  "end comes after all bytes, and the other way stays open": async (world) => {
    const both = await pair(world);
    const bytes = noise(500_000, 12);
    both.near.stream.write(bytes, 1);
    both.near.outside(() => both.near.stream.end());
    await both.far.until((end) => end.hasEnded);
    assert.equal(both.far.received().compare(bytes), 0);
    const answer = noise(500_000, 13);
    both.far.stream.write(answer, 2);
    both.far.outside(() => both.far.stream.end());
    await both.near.until((end) => end.isClosed);
    await both.far.until((end) => end.isClosed);
    assert.equal(both.near.received().compare(answer), 0);
    assert.deepEqual([both.near.hasEnded, both.near.closings], [true, [undefined]]);
    assert.deepEqual(both.far.closings, [undefined]);
    assert.deepEqual([both.near.tokens, both.far.tokens], [[1], [2]]);
    await both.listener.close();
  },
  "writing after end is refused by assertion": async (world) => {
    const both = await pair(world);
    both.near.stream.end();
    assert.throws(() => both.near.stream.write(noise(1, 1), 1), AssertionError);
    await finish(both);
  },
  "destroy returns every token, then closes; the other end learns of it": async (world) => {
    const both = await pair(world);
    both.far.stream.pause();
    const block = noise(64 * 1024, 14);
    let count = 0;
    while (both.near.stream.write(block, count++));
    both.near.outside(() => both.near.stream.destroy());
    await both.near.until((end) => end.isClosed);
    assert.deepEqual(both.near.tokens.toSorted(ascending), [...Array(count).keys()]);
    both.far.stream.resume();
    await both.far.until((end) => end.hasEnded || end.isClosed);
    both.far.stream.destroy();
    await both.far.until((end) => end.isClosed);
    await both.listener.close();
  },
  "destroying, ending and writing on a closed stream does nothing": async (world) => {
    const both = await pair(world);
    both.near.stream.destroy();
    await both.near.until((end) => end.isClosed);
    both.near.stream.destroy();
    both.near.stream.write(noise(10, 1), 9);
    both.near.stream.end();
    await both.far.until((end) => end.hasEnded || end.isClosed);
    assert.deepEqual(both.near.closings, [undefined]);
    both.far.stream.destroy();
    await both.far.until((end) => end.isClosed);
    await both.listener.close();
  },
  "a closed listener refuses new streams, and those that exist live on": async (world) => {
    const both = await pair(world);
    await both.listener.close();
    await assert.rejects(world.network.connect(both.listener.address), {
      code: "connection-refused",
    });
    both.near.stream.write(new Uint8Array([1, 2, 3]), 1);
    await both.far.until((end) => end.receivedBytes === 3);
    await finish({ ...both, listener: { ...both.listener, close: async () => {} } });
  },
};

const addresses: Promises<NetworkWorld> = {
  "an address that is in use is refused": async (world) => {
    const listener = await world.network.listen(world.freshAddress(), () => {});
    await assert.rejects(
      world.network.listen(listener.address, () => {}),
      { code: "address-in-use" },
    );
    await listener.close();
    const again = await world.network.listen(listener.address, () => {});
    assert.deepEqual(again.address, listener.address);
    await again.close();
  },
  "a listener says where it listens": async (world) => {
    const wanted = world.freshAddress();
    const listener = await world.network.listen(wanted, () => {});
    assert.equal(listener.address.kind, wanted.kind);
    if (listener.address.kind === "tcp") assert.ok(listener.address.port > 0);
    else assert.deepEqual(listener.address, wanted);
    await listener.close();
  },
  "both ends have a name for the other": async (world) => {
    const both = await pair(world);
    assert.ok(both.near.stream.remote.length > 0);
    assert.ok(both.far.stream.remote.length > 0);
    await finish(both);
  },
  "impossible addresses are refused": async ({ network, freshAddress }) => {
    const address = freshAddress();
    const wrong: NetworkAddress =
      address.kind === "unix"
        ? { kind: "unix", path: `/tmp/${"x".repeat(110)}` }
        : { ...address, port: 65_536 };
    await assert.rejects(
      network.listen(wrong, () => {}),
      { code: "address-invalid" },
    );
    await assert.rejects(network.connect(wrong), { code: "address-invalid" });
  },
  "what a killed process left behind is in nobody's way": async (world) => {
    if (world.leaveStale === undefined) return;
    const first = await world.network.listen(world.freshAddress(), () => {});
    await first.close();
    await world.leaveStale(first.address);
    await assert.rejects(world.network.connect(first.address), { code: "connection-refused" });
    const again = await world.network.listen(first.address, () => {});
    const stream = await world.network.connect(again.address);
    const witness = new Witness(stream);
    stream.destroy();
    await witness.until((end) => end.isClosed);
    await again.close();
  },
};

export function networkConformance(name: string, open: () => Promise<NetworkWorld>): void {
  registerSuite(name, open, [transfer, backpressure, closing, addresses]);
}
