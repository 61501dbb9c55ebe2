/**
 * Three hosts as real processes, a mirrored volume under verified load, hosts that are killed and
 * started again.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { fio } from "./fio.ts";
import { freePort, isLong, temporaryFolder } from "./harness.ts";
import { Program, runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const READY_MS_MAX = 90_000;
/** A stall is the death of a host, found out and dealt with. */
const STALL_NS_MAX = 20e9;

interface VolumeShown {
  readonly owner?: string;
  readonly accessible: boolean;
  readonly components: readonly { readonly host: string; readonly state: string }[];
}

class ClusterRun {
  readonly folder: string;
  readonly #port: number;
  #program: Program | undefined;

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.#port = port;
  }

  static async create(t: TestContext): Promise<ClusterRun> {
    // Room for the ports above it.
    const port = Math.min(await freePort(), 64_000);
    const run = new ClusterRun(path.join(temporaryFolder(t), "c"), port);
    t.after(() => run.#program?.kill());
    await run.start();
    return run;
  }

  async start(): Promise<void> {
    const args = ["dev", "--hosts", "3", "--dir", this.folder, "--device-size", "2G"];
    const line = [CLI, ...args, "--api-port", String(this.#port), "--json"];
    this.#program = new Program("drystone dev", process.execPath, line);
    await this.#program.waitForLine(/^\{"ready":true/, READY_MS_MAX);
  }

  async kill(): Promise<void> {
    await this.#program?.kill();
  }

  async stop(): Promise<void> {
    await this.#program?.end("SIGTERM");
  }

  get uri(): string {
    return `nbd+unix:///demo?socket=${path.join(this.folder, "demo.sock")}`;
  }

  async dev(word: "kill" | "start" | "stop", host: string): Promise<void> {
    await runTool(process.execPath, [CLI, "dev", word, host, "--dir", this.folder]);
  }

  /** Asks the host with this number. */
  async cli<T>(host: number, args: readonly string[]): Promise<T> {
    const api = `http://127.0.0.1:${this.#port + host - 1}`;
    const { stdout } = await runTool(process.execPath, [CLI, ...args, "--json", "--api", api]);
    return JSON.parse(stdout) as T;
  }

  /** Waits until the host's part of the volume is known not to be there. */
  async untilLost(host: number, lost: string): Promise<void> {
    const limit = performance.now() + READY_MS_MAX;
    for (;;) {
      const { components } = await this.cli<VolumeShown>(host, ["volume", "show", "demo"]);
      if (components.find((one) => one.host === lost)?.state !== "active") return;
      assert.ok(performance.now() < limit, `${lost} is not missed`);
    }
  }

  /** Waits until every copy is active again, which is after its digests were found equal. */
  async untilWhole(host: number): Promise<VolumeShown> {
    const limit = performance.now() + READY_MS_MAX;
    for (;;) {
      const shown = await this.cli<VolumeShown>(host, ["volume", "show", "demo"]);
      if (shown.components.every(({ state }) => state === "active")) return shown;
      assert.ok(performance.now() < limit, `it does not become whole: ${JSON.stringify(shown)}`);
    }
  }
}

test("a mirrored volume is written and verified while each host in turn is killed", async (t) => {
  const cluster = await ClusterRun.create(t);
  const megabytes = isLong ? 1024 : 96;
  const load = fio({
    uri: cluster.uri,
    args: [
      ...["--rw=randwrite", "--bs=4k", "--iodepth=16", `--size=${megabytes}M`],
      ...["--rate_iops=2000", "--verify=crc32c", "--verify_fatal=1"],
    ],
    timeoutMs: 600_000,
  });
  let isOver = false;
  const noted = load.finally(() => (isOver = true));
  for (const [index, host] of ["h1", "h2", "h3"].entries()) {
    await cluster.dev("kill", host);
    const other = ((index + 1) % 3) + 1;
    await cluster.untilLost(other, host);
    await cluster.dev("start", host);
    await cluster.untilWhole(other);
  }
  const wasBusy = !isOver;
  const job = await noted;
  assert.equal(job.error, 0);
  assert.ok(wasBusy, "the load went on while hosts died");
  const longest = Math.max(...Object.values(job.write.clat_ns.percentile ?? {}));
  assert.ok(longest < STALL_NS_MAX, `a write took ${longest / 1e9} s`);
});

test("all hosts are killed at once and started again, and nothing is lost", async (t) => {
  const cluster = await ClusterRun.create(t);
  const verified = ["--bs=64k", "--iodepth=8", "--size=64M", "--verify=crc32c"];
  const options = { uri: cluster.uri, timeoutMs: 120_000 };
  await fio({ ...options, args: ["--rw=write", "--do_verify=0", ...verified] });
  await cluster.kill();
  await cluster.start();
  await fio({ ...options, args: ["--rw=read", ...verified] });
  const shown = await cluster.untilWhole(1);
  assert.ok(shown.accessible);
  await cluster.stop();
});

test("a policy that the hosts cannot keep is refused, and says what is missing", async (t) => {
  const cluster = await ClusterRun.create(t);
  const create = ["volume", "create", "big", "--size", "1G", "--failures-to-tolerate", "2"];
  await assert.rejects(
    cluster.cli(1, create),
    /2 failures to tolerate need 5 fault domains with a device, and there are 3/,
  );
  const volumes = await cluster.cli<{ volumes: readonly { name: string }[] }>(2, [
    ...["volume", "list"],
  ]);
  assert.deepEqual(
    volumes.volumes.map(({ name }) => name),
    ["demo"],
  );
  await cluster.cli(3, ["volume", "create", "two", "--size", "1G", "--stripes", "2"]);
  await cluster.cli(1, ["volume", "delete", "two"]);
  await cluster.stop();
});
