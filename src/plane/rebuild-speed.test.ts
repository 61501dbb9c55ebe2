import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import type { CallHandler, Peer } from "../link/index.ts";
import { test } from "../../test/support/test.ts";
import { RebuildSpeed } from "./rebuild-speed.ts";

const MIB = 2 ** 20;
const NOTHING = new Uint8Array(0);

/** Hosts that reach each other, as far as they are in reach. */
class Hosts {
  nowMs = 0;
  readonly away = new Set<string>();
  readonly #handlers = new Map<string, CallHandler>();

  host(hostId: string): RebuildSpeed {
    return new RebuildSpeed({
      clock: { nowMs: () => this.nowMs },
      links: {
        handle: (_method, handler) => void this.#handlers.set(hostId, handler),
        peers: () =>
          [...this.#handlers.keys()]
            .filter((other) => other !== hostId)
            .map((other) => ({ hostId: other, isUp: !this.away.has(other) }) as Peer),
        call: async (other, _method, argument) => {
          const handler = this.#handlers.get(other);
          if (handler === undefined) throw new Error("nobody is there");
          const answer = await handler({ method: "", argument, payload: NOTHING }, hostId);
          return { result: answer.result, payload: NOTHING };
        },
      },
    });
  }

  /** A host of the version before, which knows no such question. */
  older(hostId: string): void {
    const unknown = new CodedError({ code: "call-unknown", message: "no such call" });
    this.#handlers.set(hostId, () => Promise.reject(unknown));
  }

  made(speed: RebuildSpeed, bytesNeeded: number, elapsedMs: number, nowMs: number): void {
    this.nowMs = nowMs;
    const rest = { bytesSent: 0, bytesSkipped: 0, metadataBytes: 0, share: 1, msLeft: 0 };
    speed.made({ ...rest, bytesNeeded, elapsedMs });
  }
}

test("what was made at the same time has one speed together", async () => {
  const hosts = new Hosts();
  const speed = hosts.host("a");
  for (const nowMs of [10_000, 10_000, 11_000, 11_000]) hosts.made(speed, 40 * MIB, 8000, nowMs);
  assert.equal(await speed.bytesPerSecond(), (160 * MIB) / 9);
});

test("pauses between components that follow one another count, too", async () => {
  const hosts = new Hosts();
  const speed = hosts.host("a");
  for (const nowMs of [10_000, 21_000, 32_000]) hosts.made(speed, 100 * MIB, 10_000, nowMs);
  assert.equal(await speed.bytesPerSecond(), (300 * MIB) / 32);
});

test("what comes later has a speed of its own, and what is small has none", async () => {
  const hosts = new Hosts();
  const speed = hosts.host("a");
  hosts.made(speed, 4096, 1000, 1000);
  assert.equal(await speed.bytesPerSecond(), undefined);
  hosts.made(speed, 100 * MIB, 10_000, 20_000);
  assert.equal(await speed.bytesPerSecond(), 10 * MIB);
  hosts.made(speed, 100 * MIB, 5000, 60_000);
  assert.equal(await speed.bytesPerSecond(), 20 * MIB);
});

test("a host that has made nothing itself goes by what others in reach have seen last", async () => {
  const hosts = new Hosts();
  const [a, b, c] = [hosts.host("a"), hosts.host("b"), hosts.host("c")];
  hosts.older("d");
  assert.equal(await c.bytesPerSecond(), undefined);
  hosts.made(a, 100 * MIB, 10_000, 20_000);
  hosts.made(b, 100 * MIB, 5000, 30_000);
  assert.equal(await c.bytesPerSecond(), 20 * MIB);
  assert.equal(await a.bytesPerSecond(), 20 * MIB);
  hosts.away.add("b");
  assert.equal(await c.bytesPerSecond(), 10 * MIB);
});
