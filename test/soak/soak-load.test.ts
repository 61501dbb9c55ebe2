/** The load of a soak against a volume in memory that is right, and ones that lie. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Prng } from "../../src/base/index.ts";
import { serve } from "../e2e/nbd-memory-server.ts";
import type { Served } from "../e2e/nbd-memory-server.ts";
import { verifyVolume } from "../e2e/verified-load.ts";
import { BLOCK, WriteLedger } from "../e2e/write-ledger.ts";
import { test } from "../support/test.ts";
import { SoakLoad } from "./soak-load.ts";

const SIZE = 4 << 20;

interface Scene {
  readonly served: Served;
  readonly load: SoakLoad;
  readonly ledger: WriteLedger;
  readonly address: { readonly socket: string; readonly exportName: string };
  readonly findings: string[];
}

async function scene(t: TestContext): Promise<Scene> {
  const served = await serve(t, { sizeBytes: SIZE });
  const address = { socket: served.socket, exportName: "v1" };
  const ledger = new WriteLedger(SIZE);
  const findings: string[] = [];
  const load = new SoakLoad({
    ...{ address, ledger, prng: new Prng(3), lanes: 4, pauseMs: 0 },
    answered: () => undefined,
    found: (what) => findings.push(what),
  });
  await load.start();
  return { served, load, ledger, address, findings };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(1);
}

test("a volume that is right leaves no finding, during the load and after it", async (t) => {
  const { load, ledger, address, findings } = await scene(t);
  await until(() => load.writes >= 300 && load.reads >= 100);
  const snapshot = await load.quietly(async () => {
    const [writes, copy] = [load.writes, ledger.copy()];
    assert.deepEqual(await verifyVolume(address, copy), []);
    assert.equal(load.writes, writes, "nobody wrote meanwhile");
    return copy;
  });
  const { writes } = load;
  await until(() => load.writes >= writes + 200);
  await load.stop();
  assert.deepEqual(findings, []);
  assert.deepEqual(await verifyVolume(address, ledger), []);
  assert.notDeepEqual(await verifyVolume(address, snapshot), []);
});

test("bytes that change are found by the load itself and by the last look", async (t) => {
  const { served, load, ledger, address, findings } = await scene(t);
  await until(() => load.writes >= 300);
  for (let at = 0; at < SIZE; at += BLOCK) served.volume.bytes[at]! ^= 1;
  await until(() => findings.length > 0);
  await load.stop();
  assert.match(findings[0]!, /read: block \d+ .* OTHER/);
  assert.notDeepEqual(await verifyVolume(address, ledger), []);
});

test("a connection that is lost is a finding, unless it was expected", async (t) => {
  const first = await scene(t);
  await first.served.server.close(0);
  await until(() => first.findings.length > 0);
  await first.load.stop();
  assert.match(first.findings[0]!, /lost its connection/);
  const second = await scene(t);
  second.load.expectLoss();
  await second.served.server.close(0);
  await second.load.stop();
  assert.deepEqual(second.findings, []);
});
