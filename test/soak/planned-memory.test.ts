import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { judge } from "./slopes.ts";
import { PlannedMemory } from "./planned-memory.ts";

const PLAN = { privateBytes: 300e6, residentBytes: 380e6 };
const LOOKS = 204;

/** As a host grew for 17 minutes: in steps, of which the last two came late. */
function steps(look: number): number {
  return 224e6 + (look > 40 ? 100e6 : 0) + (look > 120 ? 60e6 : 0) + (look > 190 ? 56e6 : 0);
}

test("growth in steps, which no slope calls a leak, fails once it is beyond the plan", () => {
  const memory = new PlannedMemory();
  for (let look = 0; look < LOOKS; look++)
    memory.look("h1 (pid 17)", { anonymousBytes: steps(look), residentBytes: 1 }, PLAN);
  const samples = Array.from({ length: LOOKS }, (_, look) => ({
    seconds: look * 5,
    value: steps(look) / 1e6,
  }));
  const limits = { warmUpSeconds: 300, spanSeconds: 600, limitPerHour: 40 };
  assert.equal(judge(samples, limits)?.isLeak, false);
  assert.deepEqual(memory.beyond, [
    "h1 (pid 17) memory beyond its plan: 440 MB private of 300 MB planned",
  ]);
});

test("what is within the plan, or a tenth above it, or above it for a moment, is told only", () => {
  const memory = new PlannedMemory();
  for (const resident of [100e6, 500e6, 500e6, 400e6, 500e6, 415e6])
    memory.look("h2", { anonymousBytes: 320e6, residentBytes: resident }, PLAN);
  assert.deepEqual(memory.beyond, []);
  assert.deepEqual(memory.told, [
    "h2: 320 MB private of 300 MB planned, 500 MB resident of 380 MB planned",
  ]);
});
