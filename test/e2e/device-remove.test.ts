/** Devices that cannot be taken away, since what they hold has no other place. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "./harness.ts";
import { HostRun, refusedCommand } from "./host-run.ts";
import { NbdClient } from "./nbd-client.ts";
import { BLOCK, randomBytes } from "./rebuild-world.ts";
import { destagedStats } from "./stats.ts";

const DATA_BYTES = 224 << 20;
const CHUNK = 64 * BLOCK;

interface Removal {
  readonly isReady: boolean;
  readonly bytesAtMost: number;
  readonly refusal?: string;
}

interface Shown {
  readonly components: readonly { readonly device: string; readonly state: string }[];
}

test("the last good copy is not taken away: with no other place, or too little room, it says what would help", async (t) => {
  const folder = temporaryFolder(t);
  const host = await HostRun.configure(t, folder, [path.join(folder, "one")]);
  await host.start();
  await host.cli(["volume", "create", "only", "--size", String(DATA_BYTES)]);
  const socket = path.join(folder, "only.sock");
  await host.cli(["volume", "attach", "only", "--nbd", socket]);
  const data = randomBytes(1, DATA_BYTES);
  const client = await NbdClient.connect({ socket, exportName: "only" });
  for (let at = 0; at < data.length; at += CHUNK)
    await client.write(at, data.subarray(at, at + CHUNK));
  await client.flush();
  await destagedStats(host);
  const home = (await host.cli<Shown>(["volume", "show", "only"])).components[0]!.device;
  const removal = ["device", "remove", home];
  const alone = await refusedCommand(host.api, removal);
  assert.equal(alone.code, "evacuation-impossible");
  assert.match(alone.message, /no other place to go to, of only/);
  assert.match(alone.hint, /add a host/);
  fs.mkdirSync(path.join(folder, "small"));
  await host.cli(["device", "add", path.join(folder, "small"), "--size", "256M"]);
  const plan = await host.cli<Removal>([...removal, "--dry-run"]);
  assert.deepEqual([plan.isReady, plan.bytesAtMost], [false, DATA_BYTES]);
  const tooLarge = await refusedCommand(host.api, removal);
  assert.equal(tooLarge.code, "evacuation-too-large");
  assert.match(tooLarge.message, /which has room for/);
  assert.match(tooLarge.hint, /add a device/);
  assert.equal(plan.refusal, `${tooLarge.message}; ${tooLarge.hint}`);
  const { components } = await host.cli<Shown>(["volume", "show", "only"]);
  assert.deepEqual(
    components.map(({ device, state }) => [device, state]),
    [[home, "active"]],
  );
  for (let at = 0; at < data.length; at += CHUNK) {
    const part = data.subarray(at, at + CHUNK);
    assert.ok((await client.read(at, part.length)).equals(part), `at ${at}`);
  }
  // With room for it, it goes.
  fs.mkdirSync(path.join(folder, "large"));
  await host.cli(["device", "add", path.join(folder, "large"), "--size", "1G"]);
  await host.cli(removal);
  await untilMoved(host, home);
  for (let at = 0; at < data.length; at += CHUNK) {
    const part = data.subarray(at, at + CHUNK);
    assert.ok((await client.read(at, part.length)).equals(part), `at ${at}`);
  }
  await client.close();
  await host.stop();
});

async function untilMoved(host: HostRun, from: string): Promise<void> {
  for (const deadline = performance.now() + 120_000; ;) {
    const { components } = await host.cli<Shown>(["volume", "show", "only"]);
    if (components.every(({ device, state }) => device !== from && state === "active")) return;
    assert.ok(performance.now() < deadline, JSON.stringify(components));
  }
}
