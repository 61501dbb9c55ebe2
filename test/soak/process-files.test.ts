import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { once } from "node:events";
import { test } from "../support/test.ts";
import { grownKinds, openFiles } from "./process-files.ts";

test("what this process opens is told by kind, without the folder's name", async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-files-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const before = openFiles(process.pid, folder);
  const files = [1, 2].map(() => fs.openSync(path.join(folder, "data"), "w"));
  const servers: net.Server[] = [];
  for (const where of [{ path: path.join(folder, "a.sock") }, { port: 0, host: "127.0.0.1" }]) {
    const server = net.createServer();
    server.listen(where);
    await once(server, "listening");
    servers.push(server);
  }
  const after = openFiles(process.pid, folder);
  for (const server of servers) server.close();
  for (const file of files) fs.closeSync(file);
  assert.equal(after.files - before.files, 2);
  assert.equal(after.unixSockets - before.unixSockets, 1);
  assert.equal(after.tcpSockets - before.tcpSockets, 1);
  assert.equal(after.kinds.get("/data"), 2);
  const grown = grownKinds(before.kinds, after.kinds);
  assert.deepEqual(grown.split(", ").toSorted(), [
    "1 TCP socket",
    "1 unix socket /a.sock",
    "2 /data",
  ]);
  assert.equal(grownKinds(after.kinds, after.kinds), "");
});
