/** A scrub that is under way is seen in `status`, with how far it has come. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/index.ts";
import type { StatusView } from "../../src/host/index.ts";
import { startHost } from "./harness.ts";
import { NbdClient } from "./nbd-client.ts";
import { destagedStats } from "./stats.ts";

const PIECE_BYTES = 8 << 20;
const PIECES = 12;

test("status tells how far a scrub has come", async (t) => {
  const host = await startHost(t, "1G");
  const address = await host.volume("full", PIECES * PIECE_BYTES);
  const client = await NbdClient.connect(address);
  const prng = new Prng(1);
  for (let piece = 0; piece < PIECES; piece++) {
    const data = Buffer.alloc(PIECE_BYTES);
    prng.fill(data);
    await client.write(piece * PIECE_BYTES, data);
  }
  await client.flush();
  await client.close();
  await destagedStats(host);
  const status = async (): Promise<StatusView> =>
    (await (await fetch(`${host.api}/v1/status`)).json()) as StatusView;
  const [device] = (await status()).devices;
  const progress = { isOver: false };
  const path = `/v1/devices/${device?.deviceId}/scrub`;
  const headers = { "content-type": "application/json" };
  const scrub = fetch(`${host.api}${path}`, { method: "POST", headers, body: "{}" }).finally(() => {
    progress.isOver = true;
  });
  const shares: number[] = [];
  while (!progress.isOver) {
    const share = (await status()).devices[0]?.scrubShare;
    if (share !== undefined) shares.push(share);
  }
  assert.equal((await scrub).status, 200);
  t.diagnostic(`seen: ${shares.map((share) => share.toFixed(2)).join(" ")}`);
  assert.ok(shares.length > 0, "it was not seen");
  assert.deepEqual(
    shares,
    shares.toSorted((a, b) => a - b),
  );
  assert.ok(shares.every((share) => share >= 0 && share <= 1));
  assert.equal((await status()).devices[0]?.scrubShare, undefined, "it is over");
});
