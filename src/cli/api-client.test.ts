/** What the command line makes of hosts that do not answer, or not as they should. */
import assert from "node:assert/strict";
import * as http from "node:http";
import * as net from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { ApiClient } from "./api-client.ts";

const EMPTY = JSON.stringify({ volumes: [] });

/** Returns its port. */
async function listen(t: TestContext, server: net.Server | http.Server): Promise<number> {
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket: net.Socket) => void sockets.add(socket));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

function host(
  t: TestContext,
  answer: (request: http.IncomingMessage, response: http.ServerResponse) => void,
): Promise<number> {
  return listen(t, http.createServer(answer));
}

/** Of commands over TLS, which need something to believe. */
function withToken(t: TestContext): void {
  const { DRYSTONE_TOKEN: token, DRYSTONE_CA: authority } = process.env;
  Object.assign(process.env, { DRYSTONE_TOKEN: "t", DRYSTONE_CA: import.meta.filename });
  t.after(() => {
    delete process.env["DRYSTONE_TOKEN"];
    delete process.env["DRYSTONE_CA"];
    Object.assign(process.env, token === undefined ? {} : { DRYSTONE_TOKEN: token });
    Object.assign(process.env, authority === undefined ? {} : { DRYSTONE_CA: authority });
  });
}

test("a host of which nothing comes back is passed over for the next one", async (t) => {
  withToken(t);
  let requests = 0;
  const silent = await listen(t, net.createServer());
  const good = await host(t, (_request, response) => {
    requests++;
    response.end(EMPTY);
  });
  const client = new ApiClient(`https://127.0.0.1:${silent},http://127.0.0.1:${good}`);
  assert.deepEqual(await client.call("volume.list", {}), { volumes: [] });
  await client.call("volume.list", {});
  assert.equal(requests, 2);
});

test("an address with the wrong protocol is told as such", async (t) => {
  const plain = await host(t, (_request, response) => response.end(EMPTY));
  const speaksTls = await listen(
    t,
    net.createServer((socket) => socket.once("data", () => socket.destroy())),
  );
  await assert.rejects(
    new ApiClient(`http://127.0.0.1:${speaksTls}`).call("status", {}),
    (error) => {
      assert.match(JSON.stringify(error), /give its address with https:/);
      return true;
    },
  );
  withToken(t);
  await assert.rejects(new ApiClient(`https://127.0.0.1:${plain}`).call("status", {}), {
    code: "connection-failed",
    message: `the host at https://127.0.0.1:${plain} does not speak TLS`,
  });
});

test("a change that was not answered may have been done, and is not asked for elsewhere", async (t) => {
  let changes = 0;
  const ends = await host(t, (request) => {
    changes++;
    request.socket.destroy();
  });
  const urls = `http://127.0.0.1:${ends},http://127.0.0.1:${ends}`;
  await assert.rejects(
    new ApiClient(urls).call("volume.create", { name: "a", sizeBytes: 512 }),
    /whether it was done is not known/,
  );
  assert.equal(changes, 1);
});

test("a host that stops in the middle of its answer is no bug", async (t) => {
  const half = await host(t, (_request, response) => {
    response.writeHead(200, { "content-length": "1000" });
    response.write('{"volumes":', () => response.destroy());
  });
  const client = new ApiClient(`http://127.0.0.1:${half}`);
  const failed = { code: "connection-failed", message: /stopped in the middle of its answer/ };
  await assert.rejects(client.call("volume.list", {}), failed);
  await assert.rejects(
    client.follow({}, () => {}),
    failed,
  );
});

test("all addresses are named where no host runs", async () => {
  const urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
  await assert.rejects(new ApiClient(urls.join(",")).call("status", {}), {
    code: "connection-refused",
    message: `no host is running at ${urls.join(", ")}`,
  });
});

test("a token is not sent where others could read it", (t) => {
  withToken(t);
  assert.throws(() => new ApiClient("http://10.0.0.1:7400"), {
    code: "usage",
    message: /a token is not sent to http:\/\/10\.0\.0\.1:7400/,
  });
  for (const own of ["http://127.0.0.1:7400", "http://localhost:1", "http://[::1]:1"])
    assert.ok(new ApiClient(own));
});
