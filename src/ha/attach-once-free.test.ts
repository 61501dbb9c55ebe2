import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { LEASE_TTL_LONG_MS } from "../plane/index.ts";
import { SimMachine, Simulation } from "../sim/index.ts";
import { attachOnceFree } from "./attach-once-free.ts";

const inUse = new CodedError({ code: "volume-in-use", message: "in use on another host" });

test("a volume is waited for as long as the lease of its last host may live, and no longer", async () => {
  const simulation = new Simulation({ seed: 1 });
  const { clock } = new SimMachine(simulation);
  await simulation.run(async () => {
    const freeMs = clock.nowMs() + LEASE_TTL_LONG_MS - 500;
    const attach = async (): Promise<string> => {
      if (clock.nowMs() < freeMs) throw inUse;
      return "/run/v1";
    };
    assert.equal(await attachOnceFree(clock, attach), "/run/v1");
    assert.ok(clock.nowMs() >= freeMs && clock.nowMs() < freeMs + 500);
    const fromMs = clock.nowMs();
    const never = attachOnceFree(clock, async () => await Promise.reject(inUse));
    await assert.rejects(never, { code: "volume-in-use" });
    assert.ok(clock.nowMs() - fromMs >= LEASE_TTL_LONG_MS);
  });
});

test("what is wrong otherwise is told at once", async () => {
  const simulation = new Simulation({ seed: 1 });
  const { clock } = new SimMachine(simulation);
  await simulation.run(async () => {
    const fromMs = clock.nowMs();
    const gone = new CodedError({ code: "volume-not-found", message: "there is none" });
    const asked = attachOnceFree(clock, async () => await Promise.reject(gone));
    await assert.rejects(asked, { code: "volume-not-found" });
    assert.equal(clock.nowMs(), fromMs);
  });
});
