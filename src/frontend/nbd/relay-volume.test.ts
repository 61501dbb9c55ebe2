import assert from "node:assert/strict";
import { MemoryVolume } from "../../../test/nbd/memory-volume.ts";
import { turn } from "../../../test/nbd/session.ts";
import { testPorts } from "../../../test/nbd/test-ports.ts";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import type { IoFault } from "../../object/index.ts";
import type { ByteStream, ByteStreamHandler } from "../../ports/index.ts";
import { NbdServer } from "./nbd-server.ts";
import { RelayVolume } from "./relay-volume.ts";
import { SingleExport } from "./single-export.ts";

const SIZE_BYTES = 1 << 20;
const BLOCK = 4096;
const SILENCE_MS = 500;
const DEADLINE_MS = 60_000;

/** Two streams, each of which hears what is written to the other one. */
class PipeEnd implements ByteStream {
  readonly remote: string = "pipe";
  other: PipeEnd | undefined;
  isSilent = false;
  isOver = false;
  #handler: ByteStreamHandler | undefined;
  #kept: Uint8Array[] = [];

  start(handler: ByteStreamHandler): void {
    this.#handler = handler;
    for (const bytes of this.#kept.splice(0)) handler.data(bytes);
  }

  write(bytes: Uint8Array, token: number): boolean {
    const copy = bytes.slice();
    void Promise.resolve().then(() => {
      if (token >= 0) this.#handler?.written(token);
      if (!this.isSilent) this.other?.arrive(copy);
    });
    return true;
  }

  arrive(bytes: Uint8Array): void {
    if (this.isOver) return;
    if (this.#handler === undefined) this.#kept.push(bytes);
    else this.#handler.data(bytes);
  }

  pause(): void {}
  resume(): void {}

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.isOver) return;
    this.isOver = true;
    void Promise.resolve().then(() => {
      this.#handler?.closed(undefined);
      this.other?.destroy();
    });
  }
}

interface Served {
  readonly volume: MemoryVolume;
  readonly streams: PipeEnd[];
  readonly connect: () => ByteStream;
}

/** A server of its own, over a volume whose answers come by themselves. */
async function serve(sizeBytes: number): Promise<Served> {
  const volume = new MemoryVolume({ sizeBytes, completions: "after-submit", record: true });
  const ports = testPorts();
  let accept: (stream: ByteStream) => void = () => {};
  const network = {
    listen: (address: { kind: "unix"; path: string }, given: typeof accept) => {
      accept = given;
      return Promise.resolve({ address, close: () => Promise.resolve() });
    },
    connect: () => Promise.reject(new Error("servers connect to nobody")),
  };
  const address = { kind: "unix", path: "/run/test.sock" } as const;
  await NbdServer.listen({ ...ports, network }, new SingleExport(volume, ""), {
    address,
  });
  const streams: PipeEnd[] = [];
  const connect = (): ByteStream => {
    const client = new PipeEnd();
    const server = new PipeEnd();
    client.other = server;
    server.other = client;
    streams.push(server);
    accept(server);
    return client;
  };
  return { volume, streams, connect };
}

class Bench {
  readonly ports = testPorts();
  readonly servers = new Map<string, Served>();
  current = "a";
  locates = 0;
  readonly answers: (IoFault | "good")[] = [];

  static async create(sizes: Readonly<Record<string, number>>): Promise<Bench> {
    const bench = new Bench();
    for (const [name, size] of Object.entries(sizes)) bench.servers.set(name, await serve(size));
    return bench;
  }

  open(): Promise<RelayVolume> {
    return RelayVolume.open("v1", {
      ...this.ports,
      locate: () => {
        this.locates++;
        if (this.current !== "") return Promise.resolve(this.current);
        return Promise.reject(new CodedError({ code: "no-host", message: "nobody serves it" }));
      },
      connect: (server) => Promise.resolve(this.servers.get(server)!.connect()),
    });
  }

  write(relay: RelayVolume, block: number, value: number): void {
    const done = (_token: number, fault: IoFault | undefined): void => {
      this.answers.push(fault ?? "good");
    };
    relay.volume.write(Buffer.alloc(BLOCK, value), 0, BLOCK, block * BLOCK, done, 0);
    relay.volume.submit();
  }

  /** Time passes in small steps, and everything that can happen does. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      this.ports.clock.advance(50);
      for (let i = 0; i < 8; i++) await turn();
    }
  }
}

test("what a lost connection did not answer is answered over the next one", async () => {
  const bench = await Bench.create({ a: SIZE_BYTES, b: SIZE_BYTES });
  const relay = await bench.open();
  bench.write(relay, 0, 1);
  await bench.pass(50);
  assert.deepEqual(bench.answers, ["good"]);
  const first = bench.servers.get("a")!;
  first.streams[0]!.isSilent = true;
  bench.write(relay, 1, 2);
  await bench.pass(50);
  bench.current = "b";
  first.streams[0]!.destroy();
  await bench.pass(200);
  assert.deepEqual(bench.answers, ["good", "good"]);
  assert.equal(bench.servers.get("b")!.volume.bytes[BLOCK], 2);
  await relay.close();
});

test("a silent server is waited for until another one serves the volume", async () => {
  const bench = await Bench.create({ a: SIZE_BYTES, b: SIZE_BYTES });
  const relay = await bench.open();
  const before = bench.locates;
  bench.servers.get("a")!.streams[0]!.isSilent = true;
  bench.write(relay, 1, 2);
  await bench.pass(4 * SILENCE_MS);
  assert(bench.locates >= before + 3, "it is asked again and again who serves it");
  // Nobody knows: what it was sent may yet take effect, so that nobody else may be asked.
  bench.current = "";
  await bench.pass(2 * SILENCE_MS);
  assert.equal(bench.answers.length + bench.servers.get("b")!.streams.length, 0);
  bench.current = "b";
  await bench.pass(2 * SILENCE_MS);
  assert.deepEqual(bench.answers, ["good"]);
  assert(bench.servers.get("a")!.streams[0]!.isOver, "the silent one is left");
  await relay.close();
});

test("nobody is asked who serves the volume while answers come or nothing waits for any", async () => {
  const bench = await Bench.create({ a: SIZE_BYTES });
  const relay = await bench.open();
  const before = bench.locates;
  for (let i = 0; i < 20; i++) {
    bench.write(relay, i, 1);
    await bench.pass(100);
  }
  await bench.pass(10 * SILENCE_MS);
  assert.equal(bench.locates, before);
  assert.equal(bench.answers.length, 20);
  await relay.close();
});

test("a server whose volume is smaller is not taken, and requests fail in the end", async () => {
  const bench = await Bench.create({ a: SIZE_BYTES, b: SIZE_BYTES / 2 });
  const relay = await bench.open();
  bench.current = "b";
  bench.servers.get("a")!.streams[0]!.destroy();
  await bench.pass(50);
  bench.write(relay, 255, 9);
  await bench.pass(DEADLINE_MS / 2);
  assert.deepEqual(bench.answers, []);
  await bench.pass(DEADLINE_MS / 2 + 100);
  assert.deepEqual(bench.answers, ["io-error"]);
  await relay.close();
});
