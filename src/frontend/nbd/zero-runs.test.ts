import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../../test/support/test.ts";
import { ZERO_RUNS_MAX, ZeroRuns } from "./zero-runs.ts";

const DATA_AT = 4096;

test("runs cover zero blocks only, in order and apart, and all of them while there are few", () => {
  const blocks = fc.array(fc.boolean(), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(blocks, fc.nat(7), fc.nat(1023), (isZero, tailSectors, word) => {
      const lengthBytes = isZero.length * 4096 + tailSectors * 512;
      const words = new Int32Array((DATA_AT + lengthBytes) / 4);
      isZero.forEach((zero, block) => {
        if (!zero) words[DATA_AT / 4 + block * 1024 + word] = -1;
      });
      const runs = new ZeroRuns();
      runs.find(words, DATA_AT, lengthBytes);
      let covered = 0;
      let last = -1;
      for (let run = 0; run < runs.count; run++) {
        const first = runs.start[run]! / 4096;
        const end = runs.end[run]! / 4096;
        assert(first > last && end > first, "runs are apart and not empty");
        assert(isZero.slice(first, end).every(Boolean), "a run covers data");
        covered += end - first;
        last = end;
      }
      const zeroes = isZero.filter(Boolean).length;
      if (isZero.length <= ZERO_RUNS_MAX) assert.equal(covered, zeroes);
      if (zeroes === isZero.length) assert.equal(covered, zeroes);
    }),
  );
});
