/**
 * Volumes that are encrypted at rest, on real hosts: what is on their devices, and who can read it.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { ApiRefusal, callOperation } from "../../src/host/api/api-routes.ts";
import type { OperationName, RequestOf, ResponseOf } from "../../src/host/api/api-routes.ts";
import { ClusterRun } from "./cluster-run.ts";
import { startHost, temporaryFolder } from "./harness.ts";
import { NbdClient } from "./nbd-client.ts";
import { runTool } from "./process.ts";

const DESTAGE_MS_MAX = 60_000;
const TAKEN_MS_MAX = 60_000;

const BLOCK = 4096;
const BLOCKS = 256;
const SIZE_BYTES = 8 << 20;

/** Blocks of text, each different from the others. */
function textOf(mark: string): Buffer {
  const blocks = Array.from({ length: BLOCKS }, (_, index) =>
    `${mark} ${index} `.repeat(BLOCK).slice(0, BLOCK),
  );
  return Buffer.from(blocks.join(""));
}

/** Files below the folder in which the text stands. Devices are mostly holes, which grep skips. */
async function filesWith(text: string, folder: string): Promise<readonly string[]> {
  const { stdout } = await runTool("grep", ["-rlF", text, folder], {
    ...{ codes: [0, 1], env: { ...process.env, LC_ALL: "C" } },
  });
  return stdout.split("\n").filter((line) => line !== "");
}

/** The operations of a host. */
class Api {
  readonly #base: string;
  readonly #folder: string;

  constructor(base: string, folder: string) {
    this.#base = base;
    this.#folder = folder;
  }

  call<N extends OperationName>(name: N, request: RequestOf<N>): Promise<ResponseOf<N>> {
    return callOperation(this.#base, name, request);
  }

  async refused<N extends OperationName>(
    name: N,
    request: RequestOf<N>,
    code: string,
  ): Promise<void> {
    await assert.rejects(this.call(name, request), (error) => {
      assert.ok(error instanceof ApiRefusal);
      assert.equal(error.code, code);
      return true;
    });
  }

  async open(name: string): Promise<NbdClient> {
    const socket = path.join(this.#folder, `${name}.sock`);
    await this.call("volume.attach", { name, nbd: socket });
    return await NbdClient.connect({ socket, exportName: name });
  }

  /** As soon as it is known that the host that had it is gone. */
  async takeOver(name: string): Promise<NbdClient> {
    const limit = performance.now() + TAKEN_MS_MAX;
    for (;;) {
      try {
        return await this.open(name);
      } catch (error) {
        const isEarly = error instanceof ApiRefusal && error.code === "volume-attached";
        if (!isEarly || performance.now() > limit) throw error;
      }
      await setTimeout(100);
    }
  }

  /** Once everything that was written has left the journal. */
  async uniqueBytes(): Promise<number> {
    const limit = performance.now() + DESTAGE_MS_MAX;
    for (;;) {
      const { uniqueBytes, journal } = await this.call("stats", {});
      if (journal["pendingBytes"] === 0) return uniqueBytes;
      assert.ok(performance.now() < limit, "something stays in the journal");
      await setTimeout(50);
    }
  }
}

test("equal blocks are stored once within a key domain, and are text on no device", async (t) => {
  const host = await startHost(t, "1G");
  const api = new Api(host.api, host.folder);
  const text = textOf("what nobody may read");
  const lengths: number[] = [await api.uniqueBytes()];
  for (const [name, keyDomain] of [["a1"], ["a2"], ["b1", "tenant"]] as const) {
    const domain = keyDomain === undefined ? {} : { keyDomain };
    await api.call("volume.create", { name, sizeBytes: SIZE_BYTES, encrypted: true, ...domain });
    const client = await api.open(name);
    await client.write(0, text);
    const part = Buffer.from("in the middle ".repeat(80)).subarray(0, 1024);
    await client.write(BLOCK - 512, part);
    assert.deepEqual(await client.read(BLOCK - 512, 1024), part);
    await client.write(BLOCK - 512, text.subarray(BLOCK - 512, BLOCK + 512));
    lengths.push(await api.uniqueBytes());
    assert.ok((await client.read(0, text.length)).equals(text));
    await client.close();
  }
  const grown = lengths.slice(1).map((length, index) => length - lengths[index]!);
  assert.deepEqual(grown, [text.length, 0, text.length]);
  // The same is found where it is not encrypted, or nothing would have been shown.
  await api.call("volume.create", { name: "plain", sizeBytes: SIZE_BYTES });
  const plain = await api.open("plain");
  await plain.write(0, textOf("what all may read"));
  await plain.close();
  await api.uniqueBytes();
  assert.ok((await filesWith("what all may read", host.dataFolder)).length > 0);
  assert.deepEqual(await filesWith("what nobody may read", host.dataFolder), []);

  await api.call("snapshot.create", { name: "b1@monday" });
  await api.call("volume.clone", { name: "b1@monday", clone: "b2" });
  const clone = await api.open("b2");
  assert.ok((await clone.read(0, text.length)).equals(text));
  await clone.trim(0, 512);
  const trimmed = Buffer.concat([Buffer.alloc(512), text.subarray(512, BLOCK)]);
  assert.ok((await clone.read(0, BLOCK)).equals(trimmed));
  await clone.close();
  // An export is in the clear; what is made of it is encrypted as is asked for.
  const file = path.join(host.folder, "monday.dsv");
  await host.cli(["volume", "export", "b1", "--snapshot", "monday", "--output", file]);
  assert.deepEqual(await filesWith("what nobody may read", host.folder), [file]);
  const same = ["--encrypted", "--key-domain", "tenant"];
  for (const [name, ...how] of [["b3", ...same], ["open"]]) {
    await host.cli(["volume", "import", name!, "--input", file, ...how]);
    const client = await api.open(name!);
    assert.ok((await client.read(0, text.length)).equals(text));
    await client.close();
    await api.call("volume.detach", { name: name! });
  }
  const imported = await api.call("volume.show", { name: "b3" });
  assert.equal(imported.encryption?.domain, "tenant");
  await api.refused("key-domain.destroy", { name: "tenant" }, "key-domain-in-use");
  for (const name of ["b1", "b2"]) await api.call("volume.detach", { name });
  await api.call("snapshot.delete", { name: "b1@monday" });
  for (const name of ["b1", "b2", "b3"]) await api.call("volume.delete", { name });
  await api.call("key-domain.destroy", { name: "tenant" });
  const { entries } = await api.call("audit.list", {});
  assert.ok(entries.some(({ operation }) => operation === "key-domain.destroy"));
  const { domains } = await api.call("key-domain.list", {});
  const shown = domains.map(({ name, volumes }) => ({ name, volumes }));
  assert.deepEqual(shown, [{ name: "default", volumes: ["a1", "a2"] }]);
});

test("a host serves an encrypted volume if it has the key, and holds copies without it", async (t) => {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  const [h1, h2, h3] = [1, 2, 3].map((host) => {
    return new Api(cluster.api(host), path.join(cluster.folder, `h${host}`));
  }) as [Api, Api, Api];
  const keyOf = (host: string): string => path.join(cluster.folder, host, "cluster.key");
  const dark = { name: "dark", sizeBytes: SIZE_BYTES, encrypted: true } as const;
  await h1.call("volume.create", { ...dark, failuresToTolerate: 1 });
  const text = textOf("what no host but the owner knows");
  const client = await h1.open("dark");
  await client.write(0, text);
  await client.close();

  // A host without the key is refused before it takes the volume from anybody.
  const kept = fs.readFileSync(keyOf("h3"));
  await h1.call("volume.detach", { name: "dark" });
  fs.writeFileSync(keyOf("h3"), `${"0a".repeat(32)}\n`);
  await h3.refused("volume.attach", { name: "dark" }, "cluster-key-wrong");
  fs.chmodSync(keyOf("h3"), 0o644);
  await h3.refused("volume.attach", { name: "dark" }, "cluster-key-invalid");
  fs.rmSync(keyOf("h3"));
  await h3.refused("volume.attach", { name: "dark" }, "cluster-key-missing");
  await h3.refused("volume.create", { ...dark, name: "other" }, "cluster-key-missing");

  // Its part of the volume counts all the same: the owner dies, and another host goes on.
  await (await h1.open("dark")).close();
  await cluster.dev("kill", "h1");
  const next = await h2.takeOver("dark");
  assert.ok((await next.read(0, text.length)).equals(text));
  await next.write(512, Buffer.alloc(512, 7));

  // The key is changed while one host is away and another one has none.
  const begun = await h2.call("key.rotate", {});
  assert.deepEqual(begun.waitingFor.toSorted(), ["h1", "h3"]);
  fs.writeFileSync(keyOf("h3"), kept, { mode: 0o600 });
  await cluster.dev("start", "h1");
  await cluster.untilSeen(2, "h1", "up");
  const done = await h2.call("key.rotate", {});
  assert.deepEqual([done.keyId, done.nextKeyId, done.waitingFor], [begun.nextKeyId, undefined, []]);
  const [one, ...others] = ["h1", "h2", "h3"].map((host) => fs.readFileSync(keyOf(host), "utf8"));
  assert.ok(others.every((other) => other === one) && !kept.equals(Buffer.from(one!)));

  await next.close();
  await h2.call("volume.detach", { name: "dark" });
  const last = await h3.open("dark");
  const wanted = Buffer.from(text);
  wanted.fill(7, 512, 1024);
  assert.ok((await last.read(0, text.length)).equals(wanted));
  await last.close();
  for (const host of ["h1", "h2", "h3"])
    assert.deepEqual(await filesWith("what no host but", path.join(cluster.folder, host)), []);
});
