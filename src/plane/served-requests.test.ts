/** What one host may have another one keep for it, however much it asks for. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { BLOCK_SIZE_BYTES, encodeUtf8, setU32 } from "../base/index.ts";
import { encodeLinkHeader, LINK_CALL, LINK_HEADER_BYTES, LINK_HELLO } from "../format/index.ts";
import { LINK_PREPARE, LINK_READ, LINK_READ_DONE } from "../format/index.ts";
import { LINK_SPOKEN_NEWEST, LinkPrepareLayout, LinkReadLayout } from "../format/index.ts";
import { ChunkPool } from "../link/chunk-pool.ts";
import { FrameReader } from "../link/frame-reader.ts";
import { Links } from "../link/index.ts";
import type { ByteStream, DiskMemory } from "../ports/index.ts";
import { NetworkFabric, SimLog, SimMachine, SimNetwork, Simulation } from "../sim/index.ts";
import type { LocalComponent } from "../store/index.ts";
import { ComponentServer } from "./component-server.ts";
import { SERVED_BYTES_MAX } from "./served-memory.ts";

const CLUSTER = "c1".repeat(16);
const COMPONENT = "e".repeat(32);
const ADDRESS = { kind: "tcp", host: "10.0.0.1", port: 7401 } as const;
const BLOCKS = 4096;
const MIB = 1 << 20;
const READS = 500;
const READ_BLOCKS = 256;
/** What is kept for one link, and one read more. */
const QUEUED_BYTES_MAX = 18 * MIB;

/** Answers reads when it is told to, and has no room for writes. */
class SlowComponent {
  readonly componentId = COMPONENT;
  readonly blockCount = BLOCKS;
  readonly waiting: (() => void)[] = [];

  async open(): Promise<object> {
    return {};
  }

  mayPrepare(): boolean {
    return true;
  }

  prepare(): boolean {
    return false;
  }

  onRoom(): void {}

  submit(): void {}

  read(...args: Parameters<LocalComponent["read"]>): void {
    const [, , , , done, token] = args;
    this.waiting.push(() => done(token, undefined));
  }
}

class Asker {
  readonly #stream: ByteStream;
  readonly #reader: FrameReader;
  answers = 0;
  isClosed = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
    this.#reader = new FrameReader(
      new ChunkPool(),
      ({ type }) => void (type === LINK_READ_DONE && this.answers++),
    );
    stream.start({
      data: (bytes) => void this.#reader.push(bytes),
      written: () => {},
      drained: () => {},
      ended: () => {},
      closed: () => void (this.isClosed = true),
    });
    const own = { clusterId: CLUSTER, hostId: "d".repeat(32), incarnation: 1, network: "storage" };
    const hello = JSON.stringify({ ...own, version: LINK_SPOKEN_NEWEST });
    this.send(LINK_HELLO, encodeUtf8(hello));
    const argument = { componentId: COMPONENT, epoch: 1 };
    const open = encodeUtf8(JSON.stringify({ method: "component.open", argument }));
    const body = new Uint8Array(4 + open.length);
    setU32(body, 0, open.length);
    body.set(open, 4);
    this.send(LINK_CALL, body);
  }

  send(type: number, body: Uint8Array): void {
    const message = new Uint8Array(LINK_HEADER_BYTES + body.length);
    encodeLinkHeader(message, 0, type, body.length, 1);
    message.set(body, LINK_HEADER_BYTES);
    if (!this.isClosed) this.#stream.write(message, -1);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  read(blockCount: number): void {
    const body = new Uint8Array(LinkReadLayout.sizeBytes);
    setU32(body, LinkReadLayout.at.blockCount, blockCount);
    this.send(LINK_READ, body);
  }

  prepare(blockCount: number): void {
    const length = LinkPrepareLayout.sizeBytes + blockCount * BLOCK_SIZE_BYTES;
    const body = new Uint8Array(length);
    body[LinkPrepareLayout.at.kind] = 1;
    setU32(body, LinkPrepareLayout.at.blockCount, blockCount);
    this.send(LINK_PREPARE, body);
  }
}

interface Bench {
  readonly component: SlowComponent;
  readonly asker: Asker;
  readonly links: Links;
  /** What was allocated to read into. */
  readonly allocatedBytes: () => number;
  readonly pass: (ms: number) => Promise<void>;
}

async function withAsker(work: (bench: Bench) => Promise<void>): Promise<void> {
  const simulation = new Simulation({ seed: 1 });
  await simulation.run(async () => {
    const fabric = new NetworkFabric(simulation);
    const machine = new SimMachine(simulation);
    const { clock } = machine;
    const network = new SimNetwork(machine, fabric, [ADDRESS.host]);
    const own = { clusterId: CLUSTER, hostId: "b".repeat(32), incarnation: 1 };
    const links = new Links(
      { network, clock, log: new SimLog(clock) },
      { ...own, network: "storage" },
    );
    const component = new SlowComponent();
    let allocatedBytes = 0;
    new ComponentServer(links, {
      component: () => component as unknown as LocalComponent, // What of it a server uses.
      allocate: (lengthBytes): DiskMemory => {
        allocatedBytes += lengthBytes;
        return { bytes: new Uint8Array(lengthBytes), address: 0n } as unknown as DiskMemory;
      },
    });
    await links.listen(ADDRESS);
    const address = { kind: "tcp", host: "10.0.0.2", port: 1 } as const;
    links.setPeers([{ hostId: "d".repeat(32), address }]);
    const other = new SimNetwork(new SimMachine(simulation), fabric, ["10.0.0.2"]);
    const asker = new Asker(await other.connect(ADDRESS));
    const pass = (ms: number): Promise<void> =>
      new Promise((resolve) => void simulation.clock.after(ms, resolve));
    await pass(100);
    await work({ component, asker, links, allocatedBytes: () => allocatedBytes, pass });
    await links.close();
  });
}

test("reads beyond what a link may have under way wait, and are all answered", async () => {
  await withAsker(async ({ component, asker, allocatedBytes, pass }) => {
    for (let i = 0; i < READS; i++) asker.read(READ_BLOCKS);
    for (let round = 0; round < READS && asker.answers < READS; round++) {
      await pass(10);
      for (const answer of component.waiting.splice(0)) answer();
    }
    assert.equal(asker.answers, READS);
    assert.ok(allocatedBytes() <= SERVED_BYTES_MAX, `${allocatedBytes()} bytes`);
  });
});

test("who does not take its answers has a bounded share of them kept", async () => {
  await withAsker(async ({ component, asker, links, allocatedBytes, pass }) => {
    asker.pause();
    const link = links.linkTo("d".repeat(32));
    assert.ok(link !== undefined);
    for (let i = 0; i < READS; i++) asker.read(READ_BLOCKS);
    for (let round = 0; round < 20; round++) {
      await pass(10);
      for (const answer of component.waiting.splice(0)) answer();
      assert.ok(link.queuedBytes <= QUEUED_BYTES_MAX, `${link.queuedBytes} bytes wait`);
    }
    assert.ok(allocatedBytes() <= SERVED_BYTES_MAX, `${allocatedBytes()} bytes`);
  });
});

test("a link over which more comes than any host sends is cut", async () => {
  await withAsker(async ({ asker, pass }) => {
    for (let i = 0; i < 40; i++) asker.prepare(READ_BLOCKS);
    await pass(1000);
    assert.ok(asker.isClosed, "40 MiB of writes wait for room");
  });
  await withAsker(async ({ asker, pass }) => {
    for (let i = 0; i < 70_000; i++) asker.read(READ_BLOCKS);
    await pass(1000);
    assert.ok(asker.isClosed, "70,000 reads wait");
  });
});
