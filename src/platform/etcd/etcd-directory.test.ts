/** What the directory makes of answers that a real etcd seldom gives. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { EtcdDirectory } from "../index.ts";
import type { EtcdClientOptions } from "../index.ts";
import { encodeText, EtcdFields, prefixRange } from "./etcd-wire.ts";

type Reply = (path: string, body: string) => { status?: number; text: string } | undefined;

/** Answers as it is told to; a request without a reply is cut off. */
async function member(context: TestContext, reply: Reply): Promise<string> {
  const server: Server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      const answer = reply((request.url ?? "").replace("/v3/", ""), body);
      if (answer === undefined) return void response.destroy();
      response.writeHead(answer.status ?? 200, { "content-type": "application/json" });
      response.end(answer.text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return `http://127.0.0.1:${address.port}`;
}

function open(
  context: TestContext,
  endpoints: readonly string[],
  more: Partial<EtcdClientOptions> = {},
): EtcdDirectory {
  const directory = new EtcdDirectory({ endpoints, callTimeoutMs: 400, ...more });
  context.after(async () => await directory.close());
  return directory;
}

const header = (clusterId: string): object => ({ cluster_id: clusterId, revision: "7" });

function record(clusterId: string, value: string): { text: string } {
  const kv = { key: encodeText("a"), value: encodeText(value), mod_revision: "5" };
  return { text: JSON.stringify({ header: header(clusterId), kvs: [kv] }) };
}

test("an endpoint of another cluster is not believed", async (t) => {
  let isAway = false;
  const own = await member(t, () => (isAway ? undefined : record("1", "ours")));
  const other = await member(t, () => record("2", "theirs"));
  const directory = open(t, [own, other]);
  assert.equal((await directory.get("a"))?.value, "ours");
  isAway = true;
  await assert.rejects(directory.get("a"), (error) => {
    assert.ok(error instanceof CodedError && error.code === "directory-unavailable");
    assert.match(error.message, /belongs to the etcd cluster 2, not to 1/);
    return true;
  });
});

test("what is no answer of etcd is silence, not a record", async (t) => {
  for (const text of [
    "",
    "<html>",
    "[]",
    '{"kvs":1}',
    '{"kvs":[3]}',
    '{"kvs":[{"mod_revision":"1.5"}]}',
    '{"kvs":[{"mod_revision":"9223372036854775807"}]}',
  ]) {
    const directory = open(t, [await member(t, () => ({ text }))], { callTimeoutMs: 100 });
    await assert.rejects(directory.get("a"), (error) => {
      assert.ok(error instanceof CodedError && error.code === "directory-unavailable", text);
      assert.match(error.message, /an answer that etcd does not give/);
      return true;
    });
  }
});

test("an error that may be mended elsewhere is, one that is final is told", async (t) => {
  const refusing = (code: number, message: string): Reply => {
    return () => ({ status: 500, text: JSON.stringify({ error: message, message, code }) });
  };
  const well = await member(t, () => record("1", "ours"));
  for (const code of [2, 4, 8, 13, 14]) {
    const ill = await member(t, refusing(code, "etcdserver: request timed out"));
    assert.equal((await open(t, [ill, well]).get("a"))?.value, "ours");
  }
  for (const code of [3, 7, 9, 12, 16]) {
    const ill = await member(t, refusing(code, "etcdserver: no"));
    await assert.rejects(open(t, [ill, well]).get("a"), { code: "directory-refused" });
  }
});

test("a transaction that nobody can settle has an unknown outcome, and is not sent again", async (t) => {
  let writes = 0;
  const silent = await member(t, (path, body) => {
    if (path === "lease/grant") return { text: JSON.stringify({ header: header("1"), ID: "1" }) };
    if (body.includes(encodeText("/a"))) writes++;
    return undefined;
  });
  const directory = open(t, [silent], { requestTimeoutMs: 100 });
  const change = directory.transact([], [{ kind: "put", key: "/a", value: "1" }]);
  await assert.rejects(change, { code: "directory-outcome-unknown" });
  assert.equal(writes, 1);
});

test("a transaction that was never sent is unavailable, and sent once there is somebody", async (t) => {
  const directory = open(t, ["http://127.0.0.1:1"]);
  const change = directory.transact([], [{ kind: "put", key: "/a", value: "1" }]);
  await assert.rejects(change, { code: "directory-unavailable" });
});

test("a prefix is the range of exactly the keys that begin with it", () => {
  const bytes = (text: string): number[] => [...Buffer.from(text, "base64")];
  for (const [prefix, end] of [
    ["/a/", "/a0"],
    ["z", "{"],
    ["ü", "\u00fd"],
  ] as const) {
    const range = prefixRange(prefix);
    assert.equal(range.key, encodeText(prefix));
    assert.deepEqual(bytes(range.range_end), bytes(encodeText(end)));
  }
  assert.deepEqual(prefixRange(""), { key: "AA==", range_end: "AA==" });
});

test("fields that etcd leaves out are zero, empty or false", () => {
  const fields = EtcdFields.parse("{}");
  assert.equal(fields.integer("TTL"), 0);
  assert.equal(fields.text("value"), "");
  assert.equal(fields.flag("succeeded"), false);
  assert.deepEqual(fields.children("kvs"), []);
});
