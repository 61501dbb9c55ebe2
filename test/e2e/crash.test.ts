/**
 * SIGKILL under load: what was acknowledged is there, what was not is there whole or not at all.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/index.ts";
import { isLong, startServer } from "./harness.ts";
import { VerifiedLoad, verifyVolume } from "./verified-load.ts";
import { WriteLedger } from "./write-ledger.ts";

const ROUNDS = isLong ? 100 : 5;
const VOLUME_BYTES = 64 << 20;
const MINUTE_MS = 60_000;

test(
  `a host killed ${ROUNDS} times under verified writes loses nothing it acknowledged`,
  { timeout: isLong ? 60 * MINUTE_MS : 4 * MINUTE_MS },
  async (t) => {
    const seed = Number(process.env["DRYSTONE_SEED"] ?? 1);
    t.diagnostic(`DRYSTONE_SEED=${seed}`);
    const prng = new Prng(seed);
    const server = await startServer(t);
    const address = await server.volume("crash", VOLUME_BYTES);
    const ledger = new WriteLedger(VOLUME_BYTES);
    const load = new VerifiedLoad(address, ledger, prng.fork());
    let total = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      await load.start({ connections: 2, depth: 16 });
      await load.acknowledged(prng.between(1, 1500));
      await server.kill();
      total += await load.finish(false);
      await server.start();
      const wrong = await verifyVolume(address, ledger);
      assert.deepEqual(wrong, [], `round ${round}, after ${total} acknowledged requests`);
      ledger.settle();
    }
    t.diagnostic(`${total} requests acknowledged over ${ROUNDS} kills`);
  },
);

test("a host stopped cleanly and started again holds every write", async (t) => {
  const server = await startServer(t);
  const address = await server.volume("clean", VOLUME_BYTES);
  const ledger = new WriteLedger(VOLUME_BYTES);
  const load = new VerifiedLoad(address, ledger, new Prng(2));
  await load.start({ connections: 1, depth: 16 });
  await load.acknowledged(500);
  await load.finish();
  await server.stop();
  await server.start();
  assert.deepEqual(await verifyVolume(address, ledger), []);
});
