import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import type { CallHandler, Peer } from "../link/index.ts";
import { test } from "../../test/support/test.ts";
import { StoredBytes } from "./stored-bytes.ts";

const NOTHING = new Uint8Array(0);

/** One host that asks, and others that answer in their own ways. */
class Hosts {
  nowMs = 0;
  asked = 0;
  readonly away = new Set<string>();
  readonly #others: Readonly<Record<string, unknown>>;

  /** `others`: what each says, or the error that it fails with. */
  constructor(others: Readonly<Record<string, unknown>>) {
    this.#others = others;
  }

  host(): StoredBytes {
    let own: CallHandler | undefined;
    return new StoredBytes({
      clock: { nowMs: () => this.nowMs },
      devices: { storedBytes: () => [["own", 1]] },
      links: {
        handle: (_method, handler) => void (own = handler),
        peers: () =>
          Object.keys(this.#others).map(
            (hostId) => ({ hostId, isUp: !this.away.has(hostId) }) as Peer,
          ),
        call: async (hostId) => {
          this.asked++;
          assert.ok(own !== undefined && !this.away.has(hostId));
          const said = this.#others[hostId];
          if (said instanceof Error) throw said;
          return { result: said, payload: NOTHING };
        },
      },
    });
  }
}

test("hosts in reach are asked, and what they say is kept for five seconds", async () => {
  const hosts = new Hosts({ b: [["c1", 4096]], c: [["c2", 8192]] });
  hosts.away.add("c");
  const stored = hosts.host();
  const first = [stored.byComponent(), stored.byComponent()];
  assert.deepEqual(
    [...(await first[0]!)],
    [
      ["c1", 4096],
      ["own", 1],
    ],
  );
  assert.equal(first[0], first[1]);
  hosts.away.clear();
  hosts.nowMs = 4999;
  assert.equal((await stored.byComponent()).get("c2"), undefined);
  hosts.nowMs = 5000;
  assert.equal((await stored.byComponent()).get("c2"), 8192);
  assert.equal(hosts.asked, 3);
});

test("what a host does not know or says wrongly is missing, and the rest counts", async () => {
  const older = new CodedError({ code: "call-unknown", message: "no such call" });
  const odd = [["c1", 4096], ["c2"], ["c3", -1], "c4", null];
  const hosts = new Hosts({ b: older, c: odd, d: { c5: 1 } });
  const stored = await hosts.host().byComponent();
  assert.deepEqual([...stored.keys()], ["c1", "own"]);
});
