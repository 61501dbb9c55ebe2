/**
 * What a host may say to the directory that another host keeps: calls, watches and hellos in any
 * order, with fields that cannot be, and frames that are bent. Whatever comes: nothing throws, and
 * afterwards the directory answers as ever, with what was there before.
 * `npm run fuzz -- directory --inputs N` runs more of it.
 */
import assert from "node:assert/strict";
import { Prng, setU32 } from "../base/index.ts";
import type { ByteStream, ByteStreamHandler } from "../ports/index.ts";
import { MetadataMedium, NetworkFabric, SimMachine, SimMetadataStore } from "../sim/index.ts";
import { SimNetwork, Simulation } from "../sim/index.ts";
import { EmbeddedDirectory } from "./embedded-directory.ts";
import { encodeFrame } from "./frame-stream.ts";
import { RemoteDirectoryClient } from "./remote-directory-client.ts";
import { ServedDirectory } from "./served-directory.ts";

const ADDRESS = { kind: "tcp", host: "10.0.0.1", port: 7402 } as const;
const CONVERSATIONS = 20;
const MESSAGES_MAX = 60;
const KEYS = ["/k", "/k/1", "/k/2", "/", "", "x".repeat(600), "/\u0000", "/é"] as const;
const NUMBERS = [0, 1, 2, 3, 1000, -1, 0.5, 2 ** 31, Number.MAX_SAFE_INTEGER, 1e300] as const;
const ODDITIES = [null, [], {}, "", true, "__proto__", [[]], -0] as const;
const KINDS = ["call", "call", "call", "watch", "unwatch", "ping", "hello", "bye", "x"] as const;
const METHODS = [
  ...["get", "list", "transact", "transact", "grant-lease", "keep-alive", "revoke-lease"],
  "drop",
] as const;
/** Out of reach of what is thrown: no key of it begins so. */
const KEPT = "/kept/key";

/** Returns how many messages were sent. */
export async function fuzzDirectory(seed: number): Promise<number> {
  const simulation = new Simulation({ seed });
  const prng = new Prng(seed);
  let sent = 0;
  await simulation.run(async () => {
    const fabric = new NetworkFabric(simulation);
    const machine = new SimMachine(simulation);
    const { clock } = machine;
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const directory = await EmbeddedDirectory.open(store, clock);
    await directory.transact([], [{ kind: "put", key: KEPT, value: "kept" }]);
    const served = await ServedDirectory.listen({
      ...{ directory, clock, address: ADDRESS, incarnation: "a run" },
      network: new SimNetwork(machine, fabric, [ADDRESS.host]),
    });
    const network = new SimNetwork(new SimMachine(simulation), fabric, ["10.0.0.2"]);
    const pass = (ms: number): Promise<void> =>
      new Promise((resolve) => void simulation.clock.after(ms, resolve));
    for (let i = 0; i < CONVERSATIONS; i++)
      sent += await new MadClient(await network.connect(ADDRESS), prng).talk(pass);
    const sane = new RemoteDirectoryClient({ network, address: ADDRESS, clock });
    assert.equal((await sane.get(KEPT))?.value, "kept", "the directory answers as ever");
    await sane.close();
    await pass(100);
    assert.equal(served.connectionCount, 0, "connections end");
    await served.close();
    await directory.close();
  });
  return sent;
}

class MadClient implements ByteStreamHandler {
  readonly #stream: ByteStream;
  readonly #prng: Prng;
  #isClosed = false;
  #id = 0;

  constructor(stream: ByteStream, prng: Prng) {
    this.#stream = stream;
    this.#prng = prng;
    stream.start(this);
  }

  data(): void {}

  written(): void {}

  drained(): void {}

  ended(): void {}

  closed(): void {
    this.#isClosed = true;
  }

  /** Returns how many messages it got rid of. */
  async talk(pass: (ms: number) => Promise<void>): Promise<number> {
    const prng = this.#prng;
    const count = prng.between(1, MESSAGES_MAX);
    if (prng.chance(0.95)) this.#send({ kind: "hello", protocol: 1 });
    let sent = 1;
    for (; sent < count && !this.#isClosed; sent++) {
      this.#send(this.#message());
      if (prng.chance(0.2)) await pass(prng.below(3));
    }
    await pass(prng.below(30));
    this.#stream.destroy();
    return sent;
  }

  #message(): object {
    const prng = this.#prng;
    const kind = prng.chance(0.97) ? prng.pick(KINDS) : this.#odd();
    if (kind === "call")
      return { kind, id: this.#number(this.#id++), settled: this.#number(0), call: this.#call() };
    if (kind === "watch") {
      const fromRevision = prng.chance(0.5) ? prng.below(6) : this.#number(1);
      return { kind, watch: this.#number(prng.below(4)), prefix: this.#key(), fromRevision };
    }
    if (kind === "hello") return { kind, protocol: this.#number(1), session: this.#odd() };
    return { kind, watch: this.#number(prng.below(4)) };
  }

  #call(): unknown {
    const prng = this.#prng;
    if (prng.chance(0.02)) return this.#odd();
    const list = (make: () => unknown): unknown =>
      prng.chance(0.97) ? Array.from({ length: prng.below(4) }, make) : this.#odd();
    return {
      ...{ method: prng.pick(METHODS), key: this.#key(), prefix: this.#key() },
      conditions: list(() => ({ key: this.#key(), revision: this.#number(0) })),
      writes: list(() => this.#write()),
      ttlMs: this.#number(prng.between(1, 5000)),
      lease: prng.chance(0.5) ? `${prng.below(5)}` : this.#odd(),
    };
  }

  #write(): unknown {
    const prng = this.#prng;
    const kind = prng.chance(0.95) ? prng.pick(["put", "delete"]) : this.#odd();
    const value = prng.chance(0.9) ? "v".repeat(prng.below(50)) : this.#odd();
    const lease = prng.chance(0.2) ? { lease: `${prng.below(5)}` } : {};
    return { kind, key: this.#key(), value, ...lease };
  }

  #key(): unknown {
    return this.#prng.chance(0.97) ? this.#prng.pick(KEYS) : this.#odd();
  }

  #number(usual: number): unknown {
    const prng = this.#prng;
    if (prng.chance(0.9)) return usual;
    return prng.chance(0.8) ? prng.pick(NUMBERS) : this.#odd();
  }

  #odd(): unknown {
    return this.#prng.pick(ODDITIES);
  }

  #send(message: object): void {
    if (this.#isClosed) return;
    const prng = this.#prng;
    const frame = encodeFrame(message);
    const kind = prng.below(100);
    if (kind === 0) frame[prng.below(frame.length)] = prng.below(256);
    else if (kind === 1) setU32(frame, 0, prng.pick([0, 1, 2 ** 31, 2 ** 32 - 1, 17 << 20]));
    this.#stream.write(kind === 2 ? frame.subarray(0, prng.below(frame.length)) : frame, -1);
  }
}
