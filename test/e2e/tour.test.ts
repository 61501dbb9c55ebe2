/** What a newcomer sees: `drystone dev --tour` shows a failover by itself and checks its claims. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { guestFiles } from "./guest.ts";
import { CLUSTER_PORTS, freePort, temporaryFolder } from "./harness.ts";
import { runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));

test("the tour shows a machine that survives its host, and leaves nothing running", async (t) => {
  const { kernel } = await guestFiles();
  const folder = path.join(temporaryFolder(t), "t");
  const args = ["--guest", path.dirname(kernel), "--dir", folder];
  const tour = ["dev", "--tour", ...args, "--api-port", String(await freePort(CLUSTER_PORTS))];
  const { stdout } = await runTool(process.execPath, [CLI, ...tour], { timeoutMs: 180_000 });
  t.diagnostic(stdout);
  assert.match(stdout, /guest is started on h\d after .*the lease of host h\d has ended/);
  assert.match(stdout, /it found \d+ on its disk, and had said \d+ before/);
  assert.match(stdout, /only the storage network of h\d is cut/);
  assert.match(stdout, /guest is ended there and runs on h\d after/);
  assert.match(stdout, /Every claim held\.\n$/);
  for (const host of ["h1", "h2", "h3"])
    assert.ok(!fs.existsSync(path.join(folder, host, "state", "vms", "guest", "vm.json")));
});

test("a tour without a machine to show is refused", async () => {
  await assert.rejects(runTool(process.execPath, [CLI, "dev", "--tour"]), /ended with 2\n/);
});
