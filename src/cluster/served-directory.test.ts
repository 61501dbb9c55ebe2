/** What clients of a served directory can take of the process that serves it: bounded parts. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { assertDefined, setU32 } from "../base/index.ts";
import type { ByteStream, Directory, DirectoryEvent, NetworkAddress } from "../ports/index.ts";
import { MetadataMedium, NetworkFabric, SimMachine } from "../sim/index.ts";
import { SimMetadataStore, SimNetwork, Simulation } from "../sim/index.ts";
import { parseServerMessage } from "./directory-messages.ts";
import type { ServerMessage } from "./directory-messages.ts";
import { encodeFrame, FRAME_BYTES_MAX, FrameStream } from "./frame-stream.ts";
import { EmbeddedDirectory, ServedDirectory } from "./index.ts";

const ADDRESS: NetworkAddress = { kind: "tcp", host: "10.0.0.1", port: 7000 };

interface Stranger {
  readonly stream: ByteStream;
  isCut: boolean;
}

interface Client {
  readonly heard: ServerMessage[];
  readonly send: (message: object) => void;
  readonly leave: () => void;
  readonly isCut: () => boolean;
}

interface Scene {
  readonly served: ServedDirectory;
  readonly directory: EmbeddedDirectory;
  readonly connect: (session?: string) => Promise<Client>;
  /** Has said nothing yet. */
  readonly connectOnly: () => Promise<Stranger>;
  readonly until: (condition: () => boolean) => Promise<void>;
  readonly pass: (ms: number) => Promise<void>;
}

/** `bent` is what is served in place of the directory. */
async function serving(
  work: (scene: Scene) => Promise<void>,
  bent: (directory: EmbeddedDirectory) => Directory = (directory) => directory,
): Promise<void> {
  const simulation = new Simulation({ seed: 1, eventCountMax: 5_000_000 });
  const fabric = new NetworkFabric(simulation);
  const machine = new SimMachine(simulation);
  const { clock } = machine;
  const others = new SimNetwork(new SimMachine(simulation), fabric, ["10.0.0.2"]);
  const pass = (ms: number): Promise<void> =>
    new Promise((resolve) => void simulation.clock.after(ms, resolve));
  const until = async (condition: () => boolean): Promise<void> => {
    for (let i = 0; i < 5000 && !condition(); i++) await pass(1);
    assert.ok(condition(), "it did not come");
  };
  const connect = async (session?: string): Promise<Client> => {
    const heard: ServerMessage[] = [];
    let isCut = false;
    const frames = new FrameStream(await others.connect(ADDRESS), {
      frame: (value) => void heard.push(parseServerMessage(value)),
      closed: () => void (isCut = true),
    });
    const named = session === undefined ? {} : { session };
    frames.send({ kind: "hello", protocol: 1, ...named });
    await until(() => heard.length > 0 || isCut);
    const send = (message: object): void => frames.send(message);
    return { heard, send, leave: () => frames.destroy("over"), isCut: () => isCut };
  };
  const connectOnly = async (): Promise<Stranger> => {
    const stranger = { stream: await others.connect(ADDRESS), isCut: false };
    const over = (): void => void (stranger.isCut = true);
    const nothing = (): void => undefined;
    stranger.stream.start({
      ...{ data: nothing, written: nothing, drained: nothing },
      ...{ ended: over, closed: over },
    });
    return stranger;
  };
  await simulation.run(async () => {
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const directory = await EmbeddedDirectory.open(store, clock);
    const network = new SimNetwork(machine, fabric, ["10.0.0.1"]);
    const options = { directory: bent(directory), network, address: ADDRESS, clock };
    const served = await ServedDirectory.listen({ ...options, incarnation: "i" });
    await work({ served, directory, connect, connectOnly, until, pass });
    await served.close();
    await directory.close();
  });
}

test("a revision that is too long for a frame ends its watch as lost, and nothing else", async () => {
  let tell: ((event: DirectoryEvent) => void) | undefined;
  let isCancelled = false;
  const bent = (directory: EmbeddedDirectory): Directory =>
    Object.assign(Object.create(directory) as Directory, {
      watch: (_prefix: string, _from: number, onEvent: (event: DirectoryEvent) => void) => {
        tell = onEvent;
        return { cancel: () => void (isCancelled = true) };
      },
      get: (key: string) => directory.get(key),
    });
  await serving(async ({ connect, until }) => {
    const client = await connect();
    client.send({ kind: "watch", watch: 1, prefix: "", fromRevision: 1 });
    await until(() => tell !== undefined);
    const say = assertDefined(tell, "watched");
    say({ kind: "delete", key: "a", revision: 1 });
    for (let i = 0; i < 6000; i++)
      say({ kind: "delete", key: `${i}`.padEnd(512, "\u00e9"), revision: 2 });
    await until(() => client.heard.length >= 3);
    assert.deepEqual(
      client.heard.slice(1).map((one) => (one.kind === "events" ? one.events.length : one.kind)),
      [1, "lost"],
    );
    assert.ok(isCancelled);
    client.send({ kind: "call", id: 1, settled: 0, call: { method: "get", key: "x" } });
    await until(() => client.heard.at(-1)?.kind === "answer");
  }, bent);
});

test("a client may call much while the store is slow: it is read from as calls are answered", async () => {
  const writing: (() => void)[] = [];
  let sentCount = 0;
  const bent = (directory: EmbeddedDirectory): Directory =>
    Object.assign(Object.create(directory) as Directory, {
      transact: async () => {
        sentCount++;
        await new Promise<void>((resolve) => void writing.push(resolve));
        return { succeeded: true, revision: sentCount };
      },
      grantLease: async () => "1",
    });
  await serving(async ({ connect, until, pass, served }) => {
    const client = await connect();
    const calls = 18;
    const value = "v".repeat(50_000);
    const writes = Array.from({ length: 80 }, (_none, i) => ({ kind: "put", key: `${i}`, value }));
    for (let id = 1; id <= calls; id++) {
      client.send({
        ...{ kind: "call", id, settled: 0 },
        call: { method: "transact", conditions: [], writes },
      });
      // What the other end does not read waits here, and is bounded, too.
      if (id % 5 === 0) await pass(50);
    }
    await pass(1000);
    assert.ok(served.callBytes <= 24 << 20, `${served.callBytes} bytes`);
    assert.ok(sentCount >= 4 && sentCount <= 6, `${sentCount} calls`);
    // Longer than a client may be silent.
    await pass(70_000);
    const answers = (): number => client.heard.filter(({ kind }) => kind === "answer").length;
    while (answers() < calls) {
      for (const resolve of writing.splice(0)) resolve();
      await pass(10);
      assert.ok(!client.isCut() && served.callBytes <= 24 << 20);
    }
    assert.equal(sentCount, calls);
    await until(() => served.callBytes === 0);
  }, bent);
});

test("clients that connect anew for each call are cut off before their calls fill the memory", async () => {
  const bent = (directory: EmbeddedDirectory): Directory =>
    Object.assign(Object.create(directory) as Directory, {
      transact: () => new Promise(() => {}),
    });
  await serving(async ({ connect, pass, served }) => {
    const value = "v".repeat(60_000);
    const writes = Array.from({ length: 120 }, (_none, i) => ({ kind: "put", key: `${i}`, value }));
    let cutCount = 0;
    for (let i = 0; i < 30; i++) {
      const client = await connect();
      const call = { method: "transact", conditions: [], writes };
      client.send({ kind: "call", id: 1, settled: 0, call });
      await pass(200);
      if (client.isCut()) cutCount++;
      client.leave();
    }
    assert.ok(cutCount >= 10, `${cutCount} were cut off`);
    assert.ok(served.callBytes <= 128 << 20, `${served.callBytes} bytes`);
  }, bent);
});

test("hellos keep no sessions without a bound, nor any client's answers out", async () => {
  await serving(async ({ connect, until, pass, served, directory }) => {
    const client = await connect();
    const [welcome] = client.heard;
    assert.ok(welcome?.kind === "welcome");
    const call = {
      method: "transact",
      conditions: [],
      writes: [{ kind: "put", key: "k", value: "" }],
    };
    const message = { kind: "call", id: 1, settled: 0, call };
    client.send(message);
    await until(() => client.heard.at(-1)?.kind === "answer");
    client.leave();
    await pass(10);
    for (let i = 0; i < 1200; i++) (await connect()).leave();
    await pass(10);
    assert.ok(served.sessions.count <= 1024, `${served.sessions.count} sessions`);
    const again = await connect(welcome.session);
    assert.ok(again.heard[0]?.kind === "welcome" && again.heard[0].isResumed);
    again.send(message);
    await until(() => again.heard.at(-1)?.kind === "answer");
    assert.deepEqual(again.heard.at(-1), client.heard.at(-1));
    assert.equal((await directory.list("")).revision, 1, "it was made once");
  });
});

/** The beginning of a frame of the greatest length. */
function longFrame(sentBytes: number): Uint8Array {
  const bytes = new Uint8Array(sentBytes).fill(0x20);
  setU32(bytes, 0, FRAME_BYTES_MAX);
  return bytes;
}

const HELLO = encodeFrame({ kind: "hello", protocol: 1 });

test("what has come of frames that are not whole is bounded for all clients together", async () => {
  await serving(async ({ served, connect, connectOnly, until, pass }) => {
    const strangers: Stranger[] = [];
    let heldMax = 0;
    for (let i = 0; i < 12; i++) {
      const stranger = await connectOnly();
      strangers.push(stranger);
      stranger.stream.write(HELLO, -1);
      stranger.stream.write(longFrame(15 << 20), -1);
      await pass(300);
      heldMax = Math.max(heldMax, served.partialFrames.bytes);
    }
    assert.ok(heldMax > 40 << 20 && heldMax <= 64 << 20, `${heldMax} bytes`);
    await until(() => strangers[0]!.isCut);
    assert.ok(!strangers.at(-1)!.isCut, "those that began first are cut off");
    const sane = await connect();
    const writes = [{ kind: "put", key: "k", value: "v".repeat(60_000) }];
    sane.send({
      ...{ kind: "call", id: 1, settled: 0 },
      call: { method: "transact", conditions: [], writes: writes },
    });
    await until(() => sane.heard.at(-1)?.kind === "answer");
    // However little comes at a time, a frame has as long as a client may be silent.
    const slow = strangers.at(-1)!;
    for (let i = 0; i < 70 && !slow.isCut; i++) {
      slow.stream.write(new Uint8Array(1), -1);
      await pass(1000);
    }
    assert.ok(slow.isCut, "it may send for ever");
    await until(() => served.partialFrames.bytes === 0);
  });
});

test("whoever has not said hello sends no long frame, and a frame that comes whole is as good in pieces", async () => {
  await serving(async ({ connectOnly, until, pass, directory }) => {
    const stranger = await connectOnly();
    const beginning = longFrame(4);
    stranger.stream.write(beginning, -1);
    await until(() => stranger.isCut);
    const client = await connectOnly();
    client.stream.write(HELLO, -1);
    await pass(50);
    const writes = [{ kind: "put", key: "k", value: "v".repeat(60_000) }];
    const call = { method: "transact", conditions: [], writes };
    const frame = encodeFrame({ kind: "call", id: 1, settled: 0, call });
    for (let at = 0; at < frame.length; at += 900) {
      client.stream.write(frame.slice(at, at + 900), -1);
      if (at % 9000 === 0) await pass(1);
    }
    await pass(100);
    assert.equal((await directory.get("k"))?.value.length, 60_000);
    client.stream.destroy();
  });
});
