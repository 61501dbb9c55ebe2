import { test } from "../../test/support/test.ts";
import { fuzzDirectory } from "./directory.fuzz.ts";

const SEEDS = 12;

test("a directory survives clients that say anything, and keeps what it has", async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    await fuzzDirectory(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
  }
});
