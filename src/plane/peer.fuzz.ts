/**
 * What another host may send that has proven to be one, and has gone mad: valid messages out of
 * order, messages with fields that cannot be, messages that are bent. Whatever comes: nothing
 * throws, nothing is taken for a bug, and afterwards the host answers as ever.
 * `npm run fuzz -- peer --inputs N` runs more of it.
 */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, encodeUtf8, Prng, setU32 } from "../base/index.ts";
import { setU40, setU48 } from "../base/index.ts";
import { encodeLinkHeader, LINK_CALL, LINK_COMMIT, LINK_HEADER_BYTES } from "../format/index.ts";
import { LINK_HELLO, LINK_PREPARE, LINK_READ, LINK_TYPE_MAX } from "../format/index.ts";
import { LinkCommitLayout, LinkPrepareLayout, LinkReadLayout } from "../format/index.ts";
import { LINK_SPOKEN_NEWEST } from "../format/index.ts";
import { Links } from "../link/index.ts";
import type { ByteStream, ByteStreamHandler } from "../ports/index.ts";
import { DiskMedium, MetadataMedium, NetworkFabric, SimDigests, SimDisk } from "../sim/index.ts";
import { SimLog, SimMachine, SimMetadataStore, SimNetwork, Simulation } from "../sim/index.ts";
import { Device } from "../store/index.ts";
import { DEVICE_GEOMETRY, DEVICE_MEMORY } from "../../test/support/device-sizes.ts";
import { ComponentServer } from "./component-server.ts";

const CLUSTER = "c1".repeat(16);
const HOST = "b".repeat(32);
const MAD_HOST = "d".repeat(32);
const COMPONENT = "e".repeat(32);
const ADDRESS = { kind: "tcp", host: "10.0.0.1", port: 7401 } as const;
const BLOCKS = 512;
const CONVERSATIONS = 40;
const MESSAGES_MAX = 80;
const METHODS = [
  ...["open", "extents", "changes", "begin-catch-up", "offer", "apply", "end-catch-up", "digests"],
  "offer-again",
  "nothing",
] as const;
const NUMBERS = [0, 1, 2, 3, 255, BLOCKS - 1, BLOCKS, BLOCKS + 1, 65_535, 65_537, -1] as const;
const EXTREMES = [
  2 ** 32 - 1,
  2 ** 40 - 1,
  2 ** 48 - 1,
  Number.MAX_SAFE_INTEGER,
  -(2 ** 31),
] as const;
const ODDITIES = ["", "x", null, [], {}, true, 0.5, "1", "__proto__"] as const;
const FIELDS = [
  ...["epoch", "since", "fromBlock", "toBlock", "blocksMax", "blockIndex", "blockCount"],
  ...["runsMax", "firstRegion", "regionCount", "offer", "blocks"],
] as const;

interface Host {
  readonly device: Device;
  readonly links: Links;
  readonly bugs: string[];
}

/** Returns how many messages were sent. To begin a host takes as long as 40 conversations. */
export async function fuzzPeer(
  seed: number,
  conversations: number = CONVERSATIONS,
): Promise<number> {
  const simulation = new Simulation({ seed });
  const prng = new Prng(seed);
  let sent = 0;
  await simulation.run(async () => {
    const fabric = new NetworkFabric(simulation);
    const host = await startHost(simulation, fabric);
    const machine = new SimMachine(simulation);
    const network = new SimNetwork(machine, fabric, ["10.0.0.2"]);
    for (let i = 0; i < conversations; i++) {
      const mad = new MadHost(await network.connect(ADDRESS), prng);
      sent += await mad.talk((ms) => pass(simulation, ms));
      assert.deepEqual(host.bugs, [], "nothing of it is a bug of ours");
    }
    const sane = new MadHost(await network.connect(ADDRESS), prng);
    sane.isMad = false;
    sane.hello();
    sane.call("open", { componentId: COMPONENT, epoch: 2 ** 48 - 1 });
    await pass(simulation, 1000);
    assert(sane.receivedBytes > LINK_HEADER_BYTES, "the host answers within a second");
    sane.close();
    await host.links.close();
    await host.device.close();
  });
  return sent;
}

function pass(simulation: Simulation, ms: number): Promise<void> {
  return new Promise((resolve) => void simulation.clock.after(ms, resolve));
}

async function startHost(simulation: Simulation, fabric: NetworkFabric): Promise<Host> {
  const machine = new SimMachine(simulation);
  const { clock } = machine;
  const log = new SimLog(clock);
  const ports = {
    disk: new SimDisk(machine, new DiskMedium({ sizeBytes: 64 << 20 }), {
      alignmentBytes: BLOCK_SIZE_BYTES,
    }),
    metadata: new SimMetadataStore(machine, new MetadataMedium()),
    digests: new SimDigests(machine, { mode: "fast" }),
    ...{ clock, log },
  };
  await Device.format(ports, {
    clusterId: CLUSTER,
    hostId: HOST,
    deviceId: HOST,
    ...DEVICE_GEOMETRY,
  });
  const device = await Device.open(ports, { clusterId: CLUSTER, ...DEVICE_MEMORY });
  await device.createComponent({
    ...{ componentId: COMPONENT, objectId: "0b".repeat(16) },
    sizeBytes: BLOCKS * BLOCK_SIZE_BYTES,
  });
  const bugs: string[] = [];
  const links = new Links(
    {
      network: new SimNetwork(machine, fabric, [ADDRESS.host]),
      clock,
      log: { write: (level, message) => void (level === "error" && bugs.push(message)) },
    },
    { clusterId: CLUSTER, hostId: HOST, incarnation: 1, network: "storage" },
  );
  new ComponentServer(links, {
    component: (componentId) => device.component(componentId),
    allocate: (lengthBytes) => device.allocate(lengthBytes),
  });
  await links.listen(ADDRESS);
  const address = { kind: "tcp", host: "10.0.0.2", port: 1 } as const;
  links.setPeers([{ hostId: MAD_HOST, address }]);
  return { device, links, bugs };
}

class MadHost implements ByteStreamHandler {
  readonly #stream: ByteStream;
  readonly #prng: Prng;
  #epoch = 1;
  #sequence = 0;
  #requestId = 0;
  #isClosed = false;
  receivedBytes = 0;
  isMad = true;

  constructor(stream: ByteStream, prng: Prng) {
    this.#stream = stream;
    this.#prng = prng;
    stream.start(this);
  }

  data(bytes: Uint8Array): void {
    this.receivedBytes += bytes.length;
  }

  written(): void {}

  drained(): void {}

  ended(): void {}

  closed(): void {
    this.#isClosed = true;
  }

  close(): void {
    this.#stream.destroy();
  }

  /** Returns how many messages it got rid of. */
  async talk(passTime: (ms: number) => Promise<void>): Promise<number> {
    const prng = this.#prng;
    const count = prng.between(2, MESSAGES_MAX);
    // A host that says hello wrongly is heard no further.
    if (prng.chance(0.95)) this.hello();
    this.#epoch = prng.between(1, 9);
    this.call("open", { componentId: COMPONENT, epoch: this.#epoch });
    let sent = 2;
    for (; sent < count && !this.#isClosed; sent++) {
      if (prng.chance(0.4)) await passTime(prng.below(4));
      this.#sendAny();
    }
    await passTime(prng.below(20));
    this.close();
    return sent;
  }

  hello(): void {
    const own = { clusterId: CLUSTER, hostId: MAD_HOST, incarnation: 1, network: "storage" };
    const text = encodeUtf8(JSON.stringify({ ...own, version: LINK_SPOKEN_NEWEST }));
    this.#send(LINK_HELLO, text);
  }

  call(method: string, argument: unknown, payload: Uint8Array = new Uint8Array(0)): void {
    const text = encodeUtf8(JSON.stringify({ method: `component.${method}`, argument }));
    const body = new Uint8Array(4 + text.length + payload.length);
    setU32(body, 0, text.length);
    body.set(text, 4);
    body.set(payload, 4 + text.length);
    this.#send(LINK_CALL, body);
  }

  #sendAny(): void {
    const prng = this.#prng;
    const kind = prng.below(10);
    if (kind < 4) this.#send(LINK_PREPARE, this.#prepare());
    else if (kind < 6) this.#send(LINK_READ, this.#read());
    else if (kind < 7) this.#send(LINK_COMMIT, this.#commit());
    else if (kind < 9) this.#callAny();
    else this.#send(prng.between(0, LINK_TYPE_MAX + 1), this.#noise(64));
  }

  #prepare(): Uint8Array {
    const prng = this.#prng;
    const at = LinkPrepareLayout.at;
    const blockCount = prng.chance(0.9) ? prng.between(1, 4) : this.#number();
    const kind = prng.chance(0.95) ? prng.between(1, 3) : prng.below(256);
    const blocks = kind === 1 && blockCount > 0 && blockCount < 8 ? blockCount : 0;
    const body = new Uint8Array(LinkPrepareLayout.sizeBytes + blocks * BLOCK_SIZE_BYTES);
    body[at.kind] = kind;
    setU32(body, at.handle, prng.chance(0.95) ? 0 : prng.below(4));
    setU48(body, at.epoch, prng.chance(0.9) ? this.#epoch : this.#number());
    if (prng.chance(0.9)) this.#sequence++;
    setU48(body, at.sequence, prng.chance(0.9) ? this.#sequence : this.#number());
    setU40(body, at.blockIndex, prng.chance(0.9) ? prng.below(BLOCKS - 4) : this.#number(2 ** 40));
    setU32(body, at.blockCount, blockCount);
    return body;
  }

  #read(): Uint8Array {
    const prng = this.#prng;
    const body = new Uint8Array(LinkReadLayout.sizeBytes);
    const at = LinkReadLayout.at;
    setU32(body, at.handle, prng.chance(0.95) ? 0 : prng.below(4));
    setU40(body, at.blockIndex, prng.chance(0.8) ? prng.below(BLOCKS) : this.#number(2 ** 40));
    setU32(body, at.blockCount, prng.chance(0.8) ? prng.between(1, 20) : this.#number());
    return body;
  }

  #commit(): Uint8Array {
    const prng = this.#prng;
    const body = new Uint8Array(LinkCommitLayout.sizeBytes);
    const at = LinkCommitLayout.at;
    setU32(body, at.handle, prng.chance(0.95) ? 0 : prng.below(4));
    setU48(body, at.epoch, prng.chance(0.8) ? this.#epoch : this.#number());
    setU48(body, at.sequence, prng.chance(0.8) ? prng.below(this.#sequence + 1) : this.#number());
    return body;
  }

  #callAny(): void {
    const prng = this.#prng;
    const argument: Record<string, unknown> = {};
    if (prng.chance(0.95)) argument["componentId"] = prng.chance(0.95) ? COMPONENT : this.#odd();
    for (const field of FIELDS)
      if (prng.chance(0.9)) argument[field] = prng.chance(0.9) ? this.#signed() : this.#odd();
    if (prng.chance(0.6)) argument["epoch"] = this.#epoch;
    if (prng.chance(0.3)) argument["withFingerprints"] = true;
    if (prng.chance(0.7)) argument["shape"] = this.#shape();
    const method = prng.pick(METHODS);
    const payload = prng.chance(0.6) ? this.#columns() : this.#noise(300);
    this.call(method, prng.chance(0.97) ? argument : this.#odd(), payload);
  }

  #shape(): unknown {
    const prng = this.#prng;
    const small = (): unknown => (prng.chance(0.8) ? prng.below(4) : this.#signed());
    const shape = {
      runs: small(),
      fingerprints: small(),
      nextBlock: this.#signed(),
      fromJournal: prng.chance(0.5),
    };
    return prng.chance(0.95) ? shape : this.#odd();
  }

  /** As a batch with one or two runs: starts, counts, sequences, kinds, fingerprints, data. */
  #columns(): Uint8Array {
    const prng = this.#prng;
    const runs = prng.between(1, 2);
    const column = (): number[] => Array.from({ length: runs }, () => this.#signed());
    const numbers = new Uint8Array(
      new Float64Array([...column(), ...column(), ...column()]).buffer,
    );
    const rest = prng.chance(0.3) ? this.#noise(300) : new Uint8Array(prng.below(3) * 4128);
    const bytes = new Uint8Array(numbers.length + runs + rest.length);
    bytes.set(numbers);
    for (let run = 0; run < runs; run++) bytes[numbers.length + run] = prng.between(0, 4);
    bytes.set(rest, numbers.length + runs);
    return bytes;
  }

  #number(below = 2 ** 32): number {
    return Math.abs(this.#signed()) % below;
  }

  #signed(): number {
    return this.#prng.chance(0.8) ? this.#prng.pick(NUMBERS) : this.#prng.pick(EXTREMES);
  }

  #odd(): unknown {
    return this.#prng.pick(ODDITIES);
  }

  #noise(lengthMax: number): Uint8Array {
    const bytes = new Uint8Array(this.#prng.below(lengthMax + 1));
    this.#prng.fill(bytes);
    return bytes;
  }

  #send(type: number, body: Uint8Array): void {
    if (this.#isClosed) return;
    const prng = this.#prng;
    const message = new Uint8Array(LINK_HEADER_BYTES + body.length);
    encodeLinkHeader(message, 0, type, body.length, this.#requestId++);
    message.set(body, LINK_HEADER_BYTES);
    const isBent = this.isMad && type !== LINK_HELLO && prng.chance(0.03);
    if (isBent) message[prng.below(message.length)] = prng.below(256);
    const length = isBent && prng.chance(0.3) ? prng.below(message.length) : message.length;
    // In two pieces, at times.
    const cut = length > 0 && prng.chance(0.2) ? prng.below(length) : 0;
    for (const piece of [message.subarray(0, cut), message.subarray(cut, length)])
      if (piece.length > 0) this.#stream.write(piece, -1);
  }
}
