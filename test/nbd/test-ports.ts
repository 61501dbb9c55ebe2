/** Ports of a server whose network and time belong to the test. */
import assert from "node:assert/strict";
import type {
  ByteStream,
  Clock,
  Listener,
  Network,
  NetworkAddress,
  Timer,
} from "../../src/ports/index.ts";
import { KeptLog } from "./quiet-ports.ts";
import { TestStream } from "./test-stream.ts";

export class TestNetwork implements Network {
  isListening = false;
  #accept: ((stream: ByteStream) => void) | undefined;

  listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    this.isListening = true;
    this.#accept = accept;
    const close = (): Promise<void> => {
      this.isListening = false;
      return Promise.resolve();
    };
    return Promise.resolve({ address, close });
  }

  connect(): Promise<ByteStream> {
    return Promise.reject(new Error("servers connect to nobody"));
  }

  /** A client arrives. */
  arrive(): TestStream {
    const stream = new TestStream();
    assert(this.#accept !== undefined, "nobody listens");
    this.#accept(stream);
    return stream;
  }
}

export class TestClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  get timerCount(): number {
    return this.#timers.size;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const timer of this.#timers) {
      if (timer.atMs > this.#nowMs) continue;
      this.#timers.delete(timer);
      timer.callback();
    }
  }
}

export interface TestPorts {
  readonly network: TestNetwork;
  readonly clock: TestClock;
  readonly log: KeptLog;
}

export function testPorts(): TestPorts {
  return { network: new TestNetwork(), clock: new TestClock(), log: new KeptLog() };
}
