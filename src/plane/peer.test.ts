import { test } from "../../test/support/test.ts";
import { fuzzPeer } from "./peer.fuzz.ts";

/** Those that found something once, and some that did not. */
const SEEDS = [1, 14, 46, 77, 78];

test("a host survives another one that has gone mad", async () => {
  for (const seed of SEEDS) {
    await fuzzPeer(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});
