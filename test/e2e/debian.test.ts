/** Copies of a real Debian image: identical to their source, and stored once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nbdUri } from "./block-server.ts";
import { debianImages } from "./debian-image.ts";
import { startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import type { NbdAddress } from "./nbd-client.ts";
import { runTool } from "./process.ts";
import { destagedStats } from "./stats.ts";

const COPY_MS_MAX = 120_000;

async function assertIdentical(image: string, address: NbdAddress): Promise<void> {
  const args = ["compare", "-f", "raw", "-F", "raw", image, nbdUri(address)];
  const { stdout } = await runTool("qemu-img", args, { timeoutMs: COPY_MS_MAX });
  assert.match(stdout, /Images are identical/);
}

async function copyIn(host: DevHost, name: string, image: string, sizeBytes: number) {
  const address = await host.volume(name, sizeBytes);
  await runTool("nbdcopy", [image, nbdUri(address)], { timeoutMs: COPY_MS_MAX });
  return address;
}

test("copies of a Debian image are identical and stored once", { timeout: 290_000 }, async (t) => {
  const images = await debianImages();
  const host = await startHost(t);
  const first = await copyIn(host, "first", images.base, images.sizeBytes);
  await assertIdentical(images.base, first);
  const one = await destagedStats(host);

  const second = await host.volume("second", images.sizeBytes);
  const convert = ["convert", "-n", "-f", "raw", "-O", "raw", images.base, nbdUri(second)];
  await runTool("qemu-img", convert, { timeoutMs: COPY_MS_MAX });
  await assertIdentical(images.base, second);
  const two = await destagedStats(host);

  const third = await copyIn(host, "third", images.changed, images.sizeBytes);
  await assertIdentical(images.changed, third);
  const three = await destagedStats(host);

  const grown = (two.uniqueBytes / one.uniqueBytes - 1) * 100;
  const added = ((three.uniqueBytes - two.uniqueBytes) / one.uniqueBytes) * 100;
  const changed = (images.changedBytes / images.allFileBytes) * 100;
  t.diagnostic(`one copy: ${one.uniqueBytes} unique of ${one.logicalBytes} logical bytes`);
  t.diagnostic(`two copies: unique grew by ${grown.toFixed(2)} %, ratio ${two.dedupRatio}`);
  t.diagnostic(
    `third copy, ${images.changedFileCount} of ${images.fileCount} files ` +
      `(${changed.toFixed(1)} % of bytes) changed: ` +
      `unique grew by ${added.toFixed(2)} % of one copy, ratio ${three.dedupRatio}`,
  );
  assert.ok(one.uniqueBytes > 100 << 20, "a Debian image holds more than 100 MiB");
  assert.ok(two.uniqueBytes <= one.uniqueBytes * 1.02, `the second copy added ${grown} %`);
  assert.ok(two.logicalBytes >= one.logicalBytes * 1.9, "the second copy is not in the store");
  // Content that a file system packs into shared blocks (inodes, directories) changes along.
  assert.ok(added <= changed * 1.1 + 5, `${changed} % changed, ${added} % were added`);
});
