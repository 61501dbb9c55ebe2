/**
 * A volume is moved from host to host while somebody writes to it and reads, at an address that
 * follows it: nothing fails, and nothing that was answered is lost.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { temporaryFolder } from "./harness.ts";
import { NbdClient } from "./nbd-client.ts";

const BLOCK = 4096;
const BLOCKS = 64;
const MOVES = ["h2", "h3", "h3", "h1"] as const;

interface Attachment {
  readonly host: string;
  readonly state: string;
}

/**
 * Writes a block after the other, each with a number of its own, and reads what it wrote before.
 */
async function use(client: NbdClient, isOver: () => boolean): Promise<number> {
  let count = 0;
  for (; !isOver(); count++) {
    const at = (count % BLOCKS) * BLOCK;
    await client.write(at, Buffer.alloc(BLOCK, count % 251), true);
    const before = Math.max(0, count - 7);
    const read = await client.read((before % BLOCKS) * BLOCK, BLOCK);
    assert.deepEqual(read, Buffer.alloc(BLOCK, before % 251), `write ${before}`);
  }
  return count;
}

test("a volume moves while it is used, and its clients see a pause at most", async (t) => {
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  const socket = path.join(cluster.folder, "demo.sock");
  const client = await NbdClient.connect({ socket, exportName: "demo" });
  const turn = { isOver: false };
  const using = use(client, () => turn.isOver);
  for (const [i, host] of MOVES.entries()) {
    // Whichever host is asked.
    const moved = await cluster.cli<Attachment>((i % 3) + 1, [
      "volume",
      "move",
      "demo",
      "--to",
      host,
    ]);
    assert.deepEqual([moved.host, moved.state], [host, "online"]);
    const { owner } = await cluster.cli<{ readonly owner?: string }>(1, ["volume", "show", "demo"]);
    assert.equal(owner, host);
  }
  const nowhere = path.join(cluster.folder, "no-such-folder", "v.sock");
  const refused = cluster.cli(2, ["volume", "move", "demo", "--to", "h2", "--nbd", nowhere]);
  await assert.rejects(refused, /address-invalid|cannot be attached/);
  await assert.rejects(
    cluster.cli(2, ["volume", "move", "demo", "--to", "h7"]),
    /there is no host named h7/,
  );
  turn.isOver = true;
  assert.ok((await using) > MOVES.length, "it was used all the time");
  await client.close();
});
