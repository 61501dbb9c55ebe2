import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { completed } from "./older-answers.ts";

const OWN = {
  devices: [1],
  stats: { reads: 7, farCache: { hits: 2 }, journal: { bytes: 3, waits: 1 } },
  share: 0.5,
};

test("what an older host does not tell counts as nothing", () => {
  const older = { devices: [4], stats: { reads: 1, journal: { bytes: 9 } } };
  assert.deepEqual(completed(older, OWN), {
    devices: [4],
    stats: { reads: 1, farCache: { hits: 0 }, journal: { bytes: 9, waits: 0 } },
    share: 0,
  });
  assert.deepEqual(completed({ stats: older.stats }, OWN).devices, []);
});

test("what a newer host tells besides stays", () => {
  const newer = { ...OWN, more: "words", stats: { ...OWN.stats, writes: 3 } };
  assert.deepEqual(completed(newer, OWN), newer);
});
