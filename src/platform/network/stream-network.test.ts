import { ok as assert, deepEqual, equal, rejects } from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ByteStream, ByteStreamHandler } from "../../ports/index.ts";
import { StreamNetwork } from "../index.ts";

let folder = "";
before(() => {
  folder = mkdtempSync("/var/tmp/drystone-network-");
});
after(() => {
  rmSync(folder, { recursive: true });
});

const network = new StreamNetwork();
const nobody = (): void => {};
const deaf: ByteStreamHandler = {
  data: nobody,
  written: nobody,
  drained: nobody,
  ended: nobody,
  closed: nobody,
};

test("a unix socket is for its owner and group", async () => {
  const path = join(folder, "mode");
  const listener = await network.listen({ kind: "unix", path }, nobody);
  equal(statSync(path).mode & 0o777, 0o660);
  await listener.close();
  equal(statSync(path, { throwIfNoEntry: false }), undefined);
});

test("a file that is not a socket is not taken over", async () => {
  const path = join(folder, "file");
  writeFileSync(path, "precious");
  await rejects(network.listen({ kind: "unix", path }, nobody), { code: "address-in-use" });
  equal(statSync(path).size, 8);
});

test("a path in a folder that does not exist is invalid", async () => {
  const path = join(folder, "absent", "socket");
  await rejects(network.listen({ kind: "unix", path }, nobody), { code: "address-invalid" });
  await rejects(network.connect({ kind: "unix", path }), { code: "connection-refused" });
});

test("the longest path of a unix socket works, one byte more is refused", async () => {
  const path = join(folder, "x".repeat(107 - Buffer.byteLength(folder) - 1));
  const listener = await network.listen({ kind: "unix", path }, nobody);
  await listener.close();
  const beyond = { kind: "unix", path: `${path}x` } as const;
  await rejects(network.listen(beyond, nobody), { code: "address-invalid" });
});

test("a host that does not answer is given up in time", async () => {
  // TEST-NET-1 of RFC 5737 leads nowhere; a machine without a route, or a gateway that refuses it,
  // says so at once.
  const impatient = new StreamNetwork({ connectTimeoutMs: 50 });
  const address = { kind: "tcp", host: "192.0.2.1", port: 9 } as const;
  await rejects(impatient.connect(address), (error: unknown) => {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const codes = ["connection-timeout", "connection-failed", "connection-refused"];
    return codes.some((expected) => code === expected);
  });
});

test("only a machine that says so counts as one where nobody listens", async () => {
  const address = { kind: "tcp", host: "127.0.0.1", port: 0 } as const;
  const listener = await network.listen(address, nobody);
  await listener.close();
  await rejects(network.connect(listener.address), { code: "connection-refused" });
  // The kernel has no way for TCP to a broadcast address.
  const noWay = { kind: "tcp", host: "127.255.255.255", port: 9 } as const;
  await rejects(network.connect(noWay), { code: "connection-failed" });
});

test("what is written before the start is reported after it", async () => {
  const path = join(folder, "early");
  const listener = await network.listen({ kind: "unix", path }, (stream) => stream.start(deaf));
  const stream = await network.connect({ kind: "unix", path });
  stream.write(new Uint8Array(10), 7);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const token = await new Promise((resolve) => stream.start({ ...deaf, written: resolve }));
  equal(token, 7);
  stream.destroy();
  await listener.close();
});

test("a stream that broke before its start says so after it", async () => {
  const path = join(folder, "broken");
  const accepted = new Promise<ByteStream>((resolve) => {
    void network.listen({ kind: "unix", path }, resolve).then((listener) => {
      connect(path)
        .on("error", nobody)
        .on("connect", () => void listener.close());
    });
  });
  const stream = await accepted;
  stream.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise<string | undefined>((resolve) => stream.start({ ...deaf, closed: resolve }));
});

test("a client that resets its connection costs only that connection", async () => {
  const reasons: (string | undefined)[] = [];
  const listener = await network.listen({ kind: "tcp", host: "127.0.0.1", port: 0 }, (stream) => {
    stream.start({ ...deaf, closed: (reason) => reasons.push(reason) });
    while (stream.write(new Uint8Array(65_536), -1));
  });
  assert(listener.address.kind === "tcp");
  const { port } = listener.address;
  const clients = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
  await new Promise((resolve) => clients[0]!.once("data", resolve));
  clients[0]!.resetAndDestroy();
  while (reasons.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assert(reasons[0] !== undefined);
  clients[1]!.destroy();
  while (reasons.length === 1) await new Promise((resolve) => setTimeout(resolve, 1));
  await listener.close();
});

test("a piece of a turn never overtakes another", async () => {
  const path = join(folder, "order");
  const received: number[] = [];
  const listener = await network.listen({ kind: "unix", path }, (stream) => {
    stream.start({ ...deaf, data: (bytes) => received.push(...bytes), ended: () => stream.end() });
  });
  const stream = await network.connect({ kind: "unix", path });
  const closed = new Promise((resolve) => stream.start({ ...deaf, closed: resolve }));
  for (let i = 0; i < 200; i++) {
    stream.write(new Uint8Array([i]), i);
    if (i % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  stream.end();
  equal(await closed, undefined);
  deepEqual(received, [...Array(200).keys()]);
  await listener.close();
});
