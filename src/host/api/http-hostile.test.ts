import { test } from "../../../test/support/test.ts";
import { fuzzHttp } from "./http-api.fuzz.ts";

/** Those that found something once, and some that did not. */
const SEEDS = [1, 2, 8, 9, 10];

test("the API survives requests that mean harm, and answers each once at most", async () => {
  for (const seed of SEEDS) {
    await fuzzHttp(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});
