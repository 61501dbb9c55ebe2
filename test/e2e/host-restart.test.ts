/**
 * A host that is stopped, killed and started again: data, volumes and addresses are where they
 * were.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { Prng } from "../../src/base/index.ts";
import { startHost, temporaryFolder } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { HostRun } from "./host-run.ts";
import { runTool } from "./process.ts";

interface Volume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly epoch: number;
  readonly owner?: string;
  readonly accessible: boolean;
  readonly tree: { readonly kind: string; readonly componentId: string };
  readonly components: readonly {
    readonly componentId: string;
    readonly host: string;
    readonly device: string;
    readonly state: string;
    readonly sequence?: number;
  }[];
  readonly attachment?: { readonly uri: string; readonly address: string; readonly state: string };
}

interface Volumes {
  readonly volumes: readonly Volume[];
}

interface Status {
  readonly health: string;
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
}

const IMAGE_BYTES = 8 << 20;

function makeImage(folder: string): string {
  const image = path.join(folder, "image");
  const bytes = Buffer.alloc(IMAGE_BYTES);
  new Prng(7).fill(bytes);
  fs.writeFileSync(image, bytes);
  return image;
}

async function assertHolds(uri: string, image: string, folder: string): Promise<void> {
  const copy = path.join(folder, "copy");
  await runTool("nbdcopy", [uri, copy]);
  assert.ok(fs.readFileSync(copy).equals(fs.readFileSync(image)), "the volume holds other data");
}

async function copyInto(host: DevHost, folder: string): Promise<{ uri: string; image: string }> {
  const image = makeImage(folder);
  await host.cli(["volume", "create", "web1", "--size", String(IMAGE_BYTES)]);
  const { uri } = await host.cli<{ uri: string }>(["volume", "attach", "web1"]);
  await runTool("nbdcopy", ["--flush", image, uri]);
  return { uri, image };
}

test("what nbdcopy wrote is there after a clean stop, at the same address", async (t) => {
  const host = await startHost(t);
  const { uri, image } = await copyInto(host, host.folder);
  await host.stop();
  assert.equal(await host.program.ended, 0);
  await host.start();
  await assertHolds(uri, image, host.folder);
});

test("last writes of a detached volume hold nobody up after SIGKILL", async (t) => {
  const host = await startHost(t);
  const { uri, image } = await copyInto(host, host.folder);
  await runTool("nbdcopy", ["--flush", image, uri]);
  await host.cli(["volume", "detach", "web1"]);
  await host.kill();
  await host.start();
  // More than the journal's memory holds: it gets through only if what is older leaves the journal.
  await host.cli(["volume", "create", "web2", "--size", "256M"]);
  const other = await host.cli<{ uri: string }>(["volume", "attach", "web2"]);
  await runTool("qemu-io", ["-f", "raw", "-c", "write -P 7 0 192M", other.uri]);
  const again = await host.cli<{ uri: string }>(["volume", "attach", "web1"]);
  await assertHolds(again.uri, image, host.folder);
});

test("what nbdcopy wrote is there after SIGKILL, at the same address", async (t) => {
  const host = await startHost(t);
  const { uri, image } = await copyInto(host, host.folder);
  await host.kill();
  await host.start();
  await assertHolds(uri, image, host.folder);
  const volume = await host.cli<Volume>(["volume", "show", "web1"]);
  assert.equal(volume.attachment?.uri, uri);
  assert.equal(volume.epoch, 2, "the second start is a new owner");
});

test("volume show has tree, owner, epoch and components", async (t) => {
  const host = await startHost(t);
  await host.cli(["volume", "create", "web1", "--size", "1G"]);
  const before = await host.cli<Volume>(["volume", "show", "web1"]);
  assert.equal(before.owner, undefined);
  assert.equal(before.attachment, undefined);
  await host.cli(["volume", "attach", "web1"]);
  const volume = await host.cli<Volume>(["volume", "show", "web1"]);
  assert.equal(volume.accessible, true);
  assert.equal(volume.owner, "h1");
  assert.equal(volume.epoch, 1);
  assert.equal(volume.tree.kind, "component");
  const [component] = volume.components;
  assert.equal(component?.componentId, volume.tree.componentId);
  assert.equal(component?.state, "active");
  assert.equal(component?.host, "h1");
  assert.equal(typeof component?.sequence, "number");
});

test("a volume grows while it is attached and while it is not, and never shrinks", async (t) => {
  const host = await startHost(t);
  await host.cli(["volume", "create", "web1", "--size", "1M"]);
  await host.cli(["volume", "resize", "web1", "--size", "2M"]);
  const { uri } = await host.cli<{ uri: string }>(["volume", "attach", "web1"]);
  const sizeOf = async (): Promise<number> =>
    Number((await runTool("nbdinfo", ["--size", uri])).stdout);
  assert.equal(await sizeOf(), 2 << 20);
  await host.cli(["volume", "resize", "web1", "--size", "3M"]);
  assert.equal(await sizeOf(), 3 << 20);
  await runTool("qemu-io", ["-f", "raw", "-c", "write -P 7 2M 1M", "-c", "read -P 7 2M 1M", uri]);
  await host.stop();
  await host.start();
  assert.equal(await sizeOf(), 3 << 20);
  await assert.rejects(
    host.cli(["volume", "resize", "web1", "--size", "1M"]),
    /volume-shrink-unsupported/,
  );
});

test("a deleted volume gives its space back and its name may be used again", async (t) => {
  const host = await startHost(t);
  await copyInto(host, host.folder);
  await host.cli(["volume", "detach", "web1"]);
  await host.cli(["volume", "delete", "web1", "--yes"]);
  const stats = await host.cli<{ logicalBytes: number }>(["stats"]);
  assert.equal(stats.logicalBytes, 0);
  await host.cli(["volume", "create", "web1", "--size", "1G"]);
  await host.kill();
  await host.start();
  const { volumes } = await host.cli<Volumes>(["volume", "list"]);
  assert.deepEqual(
    volumes.map(({ name }) => name),
    ["demo", "web1"],
  );
});

test("volumes over TCP and read-only ones come back as they were", async (t) => {
  const folder = temporaryFolder(t);
  const host = await HostRun.configure(t, folder, [path.join(folder, "device")]);
  await host.start();
  await host.cli(["volume", "create", "web1", "--size", "1M"]);
  const first = await host.cli<{ uri: string }>([
    "volume",
    "attach",
    "web1",
    "--nbd",
    "127.0.0.1:0",
    "--read-only",
  ]);
  assert.match(first.uri, /^nbd:\/\/127\.0\.0\.1:[1-9]\d*\/web1$/);
  assert.equal(await host.stop(), 0);
  await host.start();
  const info = await runTool("nbdinfo", [first.uri]);
  assert.match(info.stdout, /is_read_only: true/);
  await assert.rejects(runTool("qemu-io", ["-f", "raw", "-c", "write 0 4k", first.uri]));
});

test("a volume whose address was taken meanwhile is reported, the host starts", async (t) => {
  const host = await startHost(t);
  const socket = path.join(host.folder, "web1.sock");
  await host.cli(["volume", "create", "web1", "--size", "1M"]);
  await host.cli(["volume", "attach", "web1", "--nbd", socket]);
  await host.stop();
  fs.rmSync(socket, { force: true });
  fs.writeFileSync(socket, "somebody's file");
  await host.start();
  const status = await host.cli<Status>(["status"]);
  assert.equal(status.health, "degraded");
  assert.deepEqual(
    status.reasons.map(({ code }) => code),
    ["attach-failed"],
  );
  assert.equal(fs.readFileSync(socket, "utf8"), "somebody's file");
  await host.cli(["volume", "detach", "web1"]);
  assert.equal((await host.cli<Status>(["status"])).health, "healthy");
});

test("the demo volume is made once: a user who deletes it does not get it again", async (t) => {
  const host = await startHost(t);
  await host.cli(["volume", "detach", "demo"]);
  await host.cli(["volume", "delete", "demo", "--yes"]);
  await host.stop();
  await host.start();
  assert.deepEqual((await host.cli<Volumes>(["volume", "list"])).volumes, []);
});
