/** The HTTP API and the command line against a real host: refusals, limits, streams, signals. */
import assert from "node:assert/strict";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as http from "node:http";
import * as path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { CacheStatsView, StatsView } from "../../src/host/index.ts";
import { startHost, temporaryFolder } from "./harness.ts";
import { HostRun } from "./host-run.ts";
import { NbdClient } from "./nbd-client.ts";
import { Program, runTool } from "./process.ts";
import { destagedStats } from "./stats.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const isRoot = process.getuid?.() === 0;

interface Answer {
  readonly status: number;
  readonly text: string;
}

interface AskOptions {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function ask(url: string, options: AskOptions = {}): Promise<Answer> {
  const { method = "GET", body, headers = {} } = options;
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

function codeOf({ text }: Answer): string {
  return (JSON.parse(text) as { error: { code: string } }).error.code;
}

test("what the API cannot do is refused with status, code and hint", async (t) => {
  const { api } = await startHost(t);
  const create = (body: string) => ask(`${api}/v1/volumes`, { method: "POST", body });
  const cases: readonly (readonly [number, string, Answer])[] = [
    [404, "path-unknown", await ask(`${api}/v1/volmes`)],
    [405, "method-unknown", await ask(`${api}/v1/status`, { method: "PUT" })],
    [400, "request-invalid", await create("{")],
    [400, "request-invalid", await create("[]")],
    [400, "request-invalid", await create('{"name":1}')],
    [413, "request-too-large", await create(`{"name":"${"x".repeat(70_000)}"}`)],
    [409, "volume-exists", await create('{"name":"demo","sizeBytes":4096}')],
    [404, "volume-not-found", await ask(`${api}/v1/volumes/nobody`)],
    [400, "volume-name-invalid", await ask(`${api}/v1/volumes/..%2Fetc`)],
    [403, "origin-refused", await ask(`${api}/v1/status`, { headers: { origin: "http://a.b" } })],
    [403, "origin-refused", await ask(`${api}/v1/status`, { headers: { host: "a.b" } })],
  ];
  for (const [status, code, answer] of cases) {
    assert.deepEqual([answer.status, codeOf(answer)], [status, code], answer.text);
  }
  assert.match((await ask(`${api}/v1/volmes`)).text, /Did you mean \/v1\/volumes/);
});

test("health and metrics are served for machines", async (t) => {
  const { api } = await startHost(t);
  assert.deepEqual(await ask(`${api}/healthz`), { status: 200, text: "ok\n" });
  const { status, text } = await ask(`${api}/metrics`);
  assert.equal(status, 200);
  assert.match(text, /^drystone_health 1$/m);
  assert.match(text, /^drystone_volume_size_bytes\{volume="demo"\} 10737418240$/m);
  assert.match(text, /^drystone_build_info\{version="[^"]+"\} 1$/m);
});

test("the caches of each device are in stats, metrics and what stats prints", async (t) => {
  const host = await startHost(t, "1G");
  const address = await host.volume("web1", 64 << 20);
  const client = await NbdClient.connect(address);
  const data = crypto.randomBytes(1 << 20);
  await client.write(0, data);
  await destagedStats(host);
  // A restart empties the caches; 256 blocks are four pages of the logical map, read twice each.
  await client.close();
  await host.stop();
  await host.start();
  const reader = await NbdClient.connect(address);
  for (let at = 0; at < data.length; at += 32 << 10) await reader.read(at, 32 << 10);
  for (let at = 0; at < data.length; at += 32 << 10) await reader.read(at, 32 << 10);
  await reader.close();

  const { cache, caches } = await host.cli<Pick<StatsView, "cache" | "caches">>(["stats"]);
  assert.deepEqual(
    caches.map(({ kind }) => kind),
    ["pages", "blocks"],
  );
  const [pages, blocks] = caches as [CacheStatsView, CacheStatsView];
  assert.equal(pages.misses, 4);
  assert.ok(pages.hits > 0 && blocks.hits >= 256 && blocks.misses >= 256);
  assert.equal(pages.hitRatio, pages.hits / (pages.hits + pages.misses));
  assert.equal(cache["pageHitRatio"], pages.hitRatio);
  assert.equal(cache["pageMisses"], 4);
  const { text } = await ask(`${host.api}/metrics`);
  const of = `{cache="pages",device="${pages.deviceId}"}`;
  const lines = text.split("\n");
  assert.ok(lines.includes(`drystone_device_cache_hit_ratio${of} ${pages.hitRatio}`), text);
  assert.ok(lines.includes(`drystone_device_cache_misses_total${of} 4`), text);
  for (const name of ["hits", "promotions", "ghost_hits", "skipped_slots", "evictions"]) {
    assert.ok(text.includes(`drystone_device_cache_${name}_total${of} `), name);
  }
  const { stdout } = await runTool(process.execPath, [CLI, "stats", "--api", host.api]);
  assert.match(stdout, /^CACHE +DEVICE +HIT RATIO +HITS +MISSES +PROMOTED +GHOST HITS +SKIPPED/m);
});

test("events are numbered, kept over a kill, and followed as they happen", async (t) => {
  const host = await startHost(t);
  const follower = new Program("drystone events", process.execPath, [
    CLI,
    ...["events", "--follow", "--json", "--api", host.api],
  ]);
  t.after(() => follower.kill());
  await follower.waitForLine(/host-started/, 20_000);
  await host.cli(["volume", "create", "web1", "--size", "1M"]);
  await follower.waitForLine(/"kind":"volume-created".*web1/, 20_000);
  await host.kill();
  await follower.ended;
  await host.start();
  const { events, lastSequence } = await host.cli<{
    events: readonly { sequence: number; kind: string }[];
    lastSequence: number;
  }>(["events", "--limit", "1000"]);
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, index) => index + 1),
  );
  assert.equal(lastSequence, events.length);
  assert.ok(events.some(({ kind }) => kind === "volume-created"));
  const after = await host.cli<{ events: readonly unknown[] }>(["events", "--after", "2"]);
  assert.equal(after.events.length, events.length - 2);
});

test("many requests at once to create one name make one volume", async (t) => {
  const { api } = await startHost(t);
  const body = '{"name":"web1","sizeBytes":1048576}';
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => ask(`${api}/v1/volumes`, { method: "POST", body })),
  );
  const statuses = answers.map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 200).length, 1);
  assert.equal(statuses.filter((status) => status === 409).length, 19);
});

test("the command line tells a mistake from a refusal by its exit code", async (t) => {
  const { api } = await startHost(t);
  const run = async (args: readonly string[]): Promise<number> => {
    const line = [CLI, ...args, "--api", api];
    return (await runTool(process.execPath, line, { codes: [0, 1, 2] })).code;
  };
  assert.equal(await run(["status"]), 0);
  assert.equal(await run(["volume", "show", "nobody"]), 1);
  assert.equal(await run(["volume", "shwo", "demo"]), 2);
  assert.equal(await run(["dev", "kill", "h1", "--dir", "/nowhere"]), 1);
  for (const hosts of ["1", "3"]) {
    const line = [CLI, "dev", "--hosts", hosts, "--dir", import.meta.filename];
    const { stderr } = await runTool(process.execPath, line, { codes: [1] });
    assert.match(
      stderr,
      /^drystone: .* cannot be made: E[A-Z]+: .*Give another folder with --dir\n$/,
    );
  }
  const silent = await runTool(process.execPath, [CLI, "status", "--api", "http://127.0.0.1:1"], {
    codes: [1],
  });
  assert.match(silent.stderr, /no host is running at http:\/\/127\.0\.0\.1:1/);
  assert.equal(silent.stdout, "");
  const full = `${process.execPath} ${CLI} status --api ${api} > /dev/full`;
  const { stderr } = await runTool("sh", ["-c", full], { codes: [1] });
  assert.match(stderr, /^drystone: standard output cannot be written: ENOSPC[^\n]*\n$/);
});

test("a stopping host answers what is in flight and ends in time", async (t) => {
  const host = await startHost(t);
  const { attachment } = await host.cli<{ attachment: { uri: string } }>([
    ...["volume", "show", "demo"],
  ]);
  const load = new Program("fio", "fio", [
    ...["--name=load", "--ioengine=nbd", `--uri=${attachment.uri}`, "--rw=randwrite", "--bs=4k"],
    ...["--iodepth=16", "--size=64M", "--time_based", "--runtime=60", "--eta=always"],
    ...["--eta-newline=1", "--verify_state_save=0"],
  ]);
  t.after(() => load.kill());
  await load.waitForLine(/Jobs: 1.*w=/, 30_000);
  const started = performance.now();
  await host.stop();
  assert.equal(await host.program.ended, 0);
  assert.ok(performance.now() - started < 15_000, "the stop took too long");
  await host.start();
  const scrubbed = await host.cli<{ devices: readonly { deviceId: string }[] }>(["device", "list"]);
  const scrub = await host.cli<{ problemCount: number; problems: readonly string[] }>([
    ...["device", "scrub", scrubbed.devices[0]!.deviceId],
  ]);
  assert.deepEqual(scrub.problems, []);
});

test("a block device is a device, with its metadata in the state directory", async (t) => {
  if (!isRoot) return t.skip("needs root for a loop device");
  const folder = temporaryFolder(t);
  const backing = path.join(folder, "disk.img");
  fs.writeFileSync(backing, "");
  fs.truncateSync(backing, 512 << 20);
  const { stdout } = await runTool("losetup", ["--find", "--show", backing]);
  const loop = stdout.trim();
  t.after(() => runTool("losetup", ["--detach", loop]));
  const host = await HostRun.configure(t, folder, [], { devices: [{ path: loop }] });
  t.after(() => host.kill());
  await runTool("mkfs.ext4", ["-q", loop]);
  const refusal = await host.refusal();
  assert.equal(refusal.code, "device-foreign");
  assert.match(refusal.message, /ext/);
  await host.start(["--wipe", loop]);
  await host.cli(["volume", "create", "web1", "--size", "64M"]);
  const { uri } = await host.cli<{ uri: string }>(["volume", "attach", "web1"]);
  await runTool("qemu-io", ["-f", "raw", "-c", "write -P 7 0 1M", uri]);
  await host.kill();
  await host.start(["--wipe", loop]);
  await runTool("qemu-io", ["-f", "raw", "-c", "read -P 7 0 1M", uri]);
  assert.equal(await host.stop(), 0);
  const devices = path.join(folder, "state", "devices");
  fs.renameSync(devices, `${devices}.away`);
  assert.equal((await host.refusal()).code, "device-incomplete");
});
