/** Exports that find no room: the cause, what to do, and nothing that looks like a whole stream. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { startHost } from "./harness.ts";
import { refusedCommand } from "./host-run.ts";
import { NbdClient } from "./nbd-client.ts";
import { runTool } from "./process.ts";

const MIB = 2 ** 20;
const isRoot = process.getuid?.() === 0;

test(
  "an export to a full disk says so, and leaves no file and no snapshot",
  { skip: !isRoot },
  async (t) => {
    const host = await startHost(t, "1G");
    const mounted = path.join(host.folder, "mounted");
    fs.mkdirSync(mounted);
    await runTool("mount", ["-t", "tmpfs", "-o", "size=3m", "drystone-test", mounted]);
    try {
      const client = await NbdClient.connect(await host.volume("web1", 16 * MIB));
      for (let at = 0; at < 8; at++) await client.write(at * MIB, randomBytes(MIB));
      await client.close();
      const file = path.join(mounted, "web1.dsv");
      const exporting = ["volume", "export", "web1", "--output", file];
      const full = await refusedCommand(host.api, exporting);
      assert.equal(full.code, "file-unwritable");
      assert.match(full.message, /web1\.dsv cannot be written: .*no space left on device/);
      assert.match(full.hint, /^Make room.*nothing is left of this one/);
      assert.deepEqual(fs.readdirSync(mounted), []);
      const { snapshots } = await host.cli<{ snapshots: unknown[] }>(["snapshot", "list"]);
      assert.deepEqual(snapshots, []);
      await runTool("mount", ["-o", "remount,size=32m", mounted]);
      await host.cli(exporting);
      const again = await refusedCommand(host.api, exporting);
      assert.equal(again.code, "file-unwritable");
      assert.match(again.message, /already exists/);
      assert.ok(fs.statSync(file).size > 8 * MIB, "what is there is left alone");
      await host.cli(["volume", "import", "copy", "--input", file]);
    } finally {
      await runTool("umount", [mounted]);
    }
  },
);
