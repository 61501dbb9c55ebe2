import { test } from "../../test/support/test.ts";
import { fuzzFrames } from "./link.fuzz.ts";

const SEEDS = 10;

test("whatever bytes come over a link, they cost that link at most", async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    await fuzzFrames(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});
