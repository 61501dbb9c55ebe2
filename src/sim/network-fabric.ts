/**
 * The wires between simulated machines.
 *
 * Fault model: any latency; bytes arrive in order and in pieces of any size; paths may be cut per
 * pair of addresses and direction, which holds what is sent until the path heals, as retransmission
 * does; packets may be lost, which delays all behind them; a stream may be reset. A machine without
 * power is silent; once its addresses are in use again, what reaches its old streams is answered
 * with a reset. NOT simulated: bytes that are lost, doubled or changed inside a stream, which TCP
 * rules out.
 */
import { assert, type Prng } from "../base/index.ts";
import type { SimMachine } from "./sim-machine.ts";
import type { Latency, Simulation } from "./simulation.ts";

/**
 * What a lost packet costs: until later ones betray the loss, and a way there and back. Time-outs
 * that double come only where nothing else is sent (RFC 8985); hosts always say something.
 */
const RETRANSMISSION: Latency = { minMs: 200, maxMs: 900 };

const SLAB_BYTES = 64 * 1024;

/** What the fabric knows of a stream. */
export interface FabricStream {
  readonly localAddress: string;
  readonly remoteAddress: string;
  /** A path may be open again. */
  pathChanged(): void;
  reset(): void;
}

/** What the fabric knows of a listener. */
export interface FabricListener {
  readonly machine: SimMachine;
  admit(connection: { readonly from: string; readonly to: string }): FabricStream;
}

export interface NetworkFabricOptions {
  /** One way. */
  readonly latency?: Latency;
  /** Bytes under way and unread per direction of a stream. */
  readonly windowBytes?: number;
  readonly connectTimeoutMs?: number;
  /** How often what has arrived comes in a piece of a few bytes. Default 0.3. */
  readonly smallPieceShare?: number;
}

export class NetworkFabric {
  readonly simulation: Simulation;
  readonly prng: Prng;
  readonly windowBytes: number;
  readonly connectTimeoutMs: number;
  readonly smallPieceShare: number;
  /** May be changed at any time. */
  latency: Latency;
  /** Of the packets; each loss delays its packet, and all behind it. May be changed. */
  lossRate = 0;
  readonly #blocked = new Set<string>();
  readonly #hosts = new Map<string, SimMachine>();
  readonly #streams = new Set<FabricStream>();
  #slab: Uint8Array = new Uint8Array(0);
  #slabUsed = 0;
  /** By "address port" or "address path". */
  readonly listeners: Map<string, FabricListener> = new Map();

  constructor(simulation: Simulation, options: NetworkFabricOptions = {}) {
    this.simulation = simulation;
    this.prng = simulation.prng.fork();
    this.latency = options.latency ?? { minMs: 0.05, maxMs: 0.5 };
    this.windowBytes = options.windowBytes ?? 256 * 1024;
    this.smallPieceShare = options.smallPieceShare ?? 0.3;
    this.connectTimeoutMs = options.connectTimeoutMs ?? 5000;
    assert(this.windowBytes > 0, "a window of nothing");
  }

  /** Nothing gets from one address to the other any more; the way back stays open. */
  block(from: string, to: string): void {
    this.#blocked.add(pathKey(from, to));
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(pathKey(from, to));
    this.#pathsChanged();
  }

  /** Cuts both directions between every address of one group and every one of the other. */
  partition(group: readonly string[], others: readonly string[]): void {
    for (const a of group) {
      for (const b of others) {
        this.block(a, b);
        this.block(b, a);
      }
    }
  }

  heal(): void {
    this.#blocked.clear();
    this.#pathsChanged();
  }

  /** Fault: both ends of every stream between the two addresses see a reset. */
  resetStreams(a: string, b: string): void {
    for (const stream of [...this.#streams]) {
      if (pathKey(stream.localAddress, stream.remoteAddress) === pathKey(a, b)) stream.reset();
      else if (pathKey(stream.remoteAddress, stream.localAddress) === pathKey(a, b)) stream.reset();
    }
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(pathKey(from, to));
  }

  /** Memory for what is on its way: an allocation each would be a good part of the work. */
  piece(lengthBytes: number): Uint8Array {
    if (lengthBytes > SLAB_BYTES / 4) return new Uint8Array(lengthBytes);
    if (this.#slabUsed + lengthBytes > this.#slab.length) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    const start = this.#slabUsed;
    this.#slabUsed += lengthBytes;
    return this.#slab.subarray(start, this.#slabUsed);
  }

  /** For adapters. */
  drawLatencyMs(): number {
    let delayMs = this.simulation.drawLatencyMs("network", this.latency, this.prng);
    if (this.lossRate === 0) return delayMs;
    while (this.prng.chance(this.lossRate)) delayMs += drawn(RETRANSMISSION, this.prng);
    return delayMs;
  }

  /** For adapters: the machine answers at this address from now on. */
  attach(address: string, machine: SimMachine): void {
    const before = this.#hosts.get(address);
    assert(
      before === undefined || before === machine || !before.isOn,
      `the address ${address} belongs to another machine`,
    );
    this.#hosts.set(address, machine);
  }

  /** For adapters: whether anybody answers there now. */
  isAlive(address: string): boolean {
    return this.#hosts.get(address)?.isOn === true;
  }

  track(stream: FabricStream): void {
    this.#streams.add(stream);
  }

  forget(stream: FabricStream): void {
    this.#streams.delete(stream);
  }

  #pathsChanged(): void {
    for (const stream of [...this.#streams]) stream.pathChanged();
  }
}

function drawn({ minMs, maxMs }: Latency, prng: Prng): number {
  return minMs + (prng.u32() / 2 ** 32) * (maxMs - minMs);
}

function pathKey(from: string, to: string): string {
  return `${from} > ${to}`;
}
