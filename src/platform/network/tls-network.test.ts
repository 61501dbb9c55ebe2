import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectPlain } from "node:net";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import { authorityOf, hostCredentials, TEST_CLUSTER } from "../../../test/support/credentials.ts";
import type { CredentialsOptions } from "../../../test/support/credentials.ts";
import type { ByteStream, ByteStreamHandler, Listener, LogFields } from "../../ports/index.ts";
import { makeAuthority } from "./certificate.ts";
import type { CertifiedKey } from "./certificate.ts";
import { StreamNetwork, TlsNetwork, TlsTrust } from "../index.ts";

const OTHER_CLUSTER = "d".repeat(32);
const ANYWHERE = { kind: "tcp", host: "127.0.0.1", port: 0 } as const;
const nobody = (): void => {};
const deaf: ByteStreamHandler = {
  data: nobody,
  written: nobody,
  drained: nobody,
  ended: nobody,
  closed: nobody,
};

// Timers of ours let the process end, so something else has to keep a test alive.
const keeper = setInterval(nobody, 60_000);
after(() => clearInterval(keeper));

interface Served {
  readonly listener: Listener;
  readonly port: number;
  readonly accepted: ByteStream[];
  readonly refusals: LogFields[];
}

async function serve(
  context: TestContext,
  trust: TlsTrust = new TlsTrust(hostCredentials("1")),
): Promise<Served> {
  const accepted: ByteStream[] = [];
  const refusals: LogFields[] = [];
  const network = new TlsNetwork({
    clusterId: TEST_CLUSTER,
    trust,
    log: { write: (_level, _message, fields) => void refusals.push(fields ?? {}) },
  });
  const listener = await network.listen(ANYWHERE, (stream) => void accepted.push(stream));
  context.after(() => listener.close());
  assert.ok(listener.address.kind === "tcp");
  return { listener, port: listener.address.port, accepted, refusals };
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < endMs, "it did not come");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Connects with these, and resolves when the other end has let go. */
async function refused({ port }: Served, options: CredentialsOptions): Promise<string> {
  const credentials = hostCredentials("2", options);
  const { caPem } = hostCredentials("3");
  // The client believes the listener: what is tried here is what the listener believes.
  const network = new TlsNetwork({
    clusterId: TEST_CLUSTER,
    trust: new TlsTrust({ ...credentials, caPem }),
  });
  const stream = await network.connect({ kind: "tcp", host: "127.0.0.1", port });
  return await new Promise((resolve) => {
    const closed = (reason?: string): void => {
      stream.destroy();
      resolve(reason ?? "closed");
    };
    stream.start({ ...deaf, closed, ended: closed });
    stream.write(new Uint8Array(100), -1);
  });
}

test("both ends know who the other one is", async (context) => {
  const served = await serve(context);
  const credentials = hostCredentials("2");
  const network = new TlsNetwork({ clusterId: TEST_CLUSTER, trust: new TlsTrust(credentials) });
  const stream = await network.connect(served.listener.address);
  assert.deepEqual(stream.peer, { clusterId: TEST_CLUSTER, hostId: "1".repeat(32) });
  await until(() => served.accepted.length > 0);
  assert.deepEqual(served.accepted[0]?.peer, { clusterId: TEST_CLUSTER, hostId: "2".repeat(32) });
  stream.destroy();
});

test("who has no certificate of the cluster's hosts is refused, and the log says why", async (context) => {
  const served = await serve(context);
  const sameName = makeAuthority(TEST_CLUSTER, Date.now());
  const eleven = 11 * 365 * 24 * 3600 * 1000;
  const cases: readonly (readonly [CredentialsOptions, RegExp])[] = [
    [{ clusterId: OTHER_CLUSTER }, /UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/],
    [{ authority: sameName }, /SIGNATURE|UNABLE_TO/],
    [{ nowMs: Date.now() - eleven }, /CERT_HAS_EXPIRED/],
    [{ nowMs: Date.now() + eleven }, /CERT_NOT_YET_VALID/],
    [{ role: "operator" }, /of the operator/],
  ];
  for (const [options, reason] of cases) {
    const before = served.refusals.length;
    await refused(served, options);
    await until(() => served.refusals.length > before);
    assert.match(JSON.stringify(served.refusals.at(-1)), reason);
  }
  assert.deepEqual(served.accepted, []);
});

test("who connects and says nothing is let go of, and named in the log", async (context) => {
  const { port, refusals } = await serve(context);
  const socket = connectPlain({ port, host: "127.0.0.1", allowHalfOpen: true });
  context.after(() => socket.destroy());
  // What the other end never closes is never read to its end.
  socket.resume();
  await once(socket, "end");
  assert.match(JSON.stringify(refusals), /handshake timeout/);
});

test("who ends its side before it has said who it is is let go of at once, and not complained about", async (context) => {
  const { port, refusals } = await serve(context);
  const beginMs = performance.now();
  const socket = connectPlain({ port, host: "127.0.0.1", allowHalfOpen: true });
  context.after(() => socket.destroy());
  socket.end();
  socket.resume();
  await once(socket, "end");
  // A handshake that takes too long is ended after five seconds.
  assert.ok(performance.now() - beginMs < 4000);
  assert.deepEqual(refusals, []);
});

test("a host that only asks whether anybody is there is not complained about", async (context) => {
  const served = await serve(context);
  const network = new TlsNetwork({
    clusterId: TEST_CLUSTER,
    trust: new TlsTrust(hostCredentials("2")),
  });
  for (let i = 0; i < 20; i++) (await network.connect(served.listener.address)).destroy();
  const stays = await network.connect(served.listener.address);
  context.after(() => stays.destroy());
  let isEnded = false;
  stays.start({ ...deaf, ended: () => (isEnded = true), closed: () => (isEnded = true) });
  // Longer than a handshake may take.
  await new Promise((resolve) => setTimeout(resolve, 5500));
  assert.deepEqual(served.refusals, []);
  assert.equal(isEnded, false);
});

test("a host that is removed is let go of, and refused from then on", async (context) => {
  const trust = new TlsTrust(hostCredentials("1"));
  const served = await serve(context, trust);
  const connectAs = async (name: string): Promise<ByteStream> => {
    const client = new TlsTrust(hostCredentials(name));
    const network = new TlsNetwork({ clusterId: TEST_CLUSTER, trust: client });
    return await network.connect(served.listener.address);
  };
  const ended = new Set<string>();
  const follow = (stream: ByteStream, name: string): void => {
    const over = (): void => void ended.add(name);
    stream.start({ ...deaf, closed: over, ended: over });
  };
  const [second, third] = [await connectAs("2"), await connectAs("3")];
  follow(second, "2");
  follow(third, "3");
  await until(() => served.accepted.length === 2);
  for (const stream of served.accepted) stream.start(deaf);
  trust.change({ revoked: ["2".repeat(32)] });
  await until(() => ended.size > 0);
  await refused(served, {});
  assert.deepEqual([...ended], ["2"]);
  second.destroy();
  await until(() => served.refusals.length > 0);
  assert.match(JSON.stringify(served.refusals), /removed from the cluster/);
  // Nor does the host go to one that was removed.
  const network = new TlsNetwork({ clusterId: TEST_CLUSTER, trust });
  const other = await serve(context, new TlsTrust(hostCredentials("2")));
  await assert.rejects(network.connect(other.listener.address), { code: "certificate-refused" });
  third.destroy();
});

test("a certificate that was renewed is shown to whoever connects next", async (context) => {
  const trust = new TlsTrust(hostCredentials("1"));
  const served = await serve(context, trust);
  const shown = async (): Promise<string | undefined> => {
    const socket = connectTls({ port: served.port, host: "127.0.0.1", rejectUnauthorized: false });
    socket.on("error", nobody);
    await once(socket, "secureConnect");
    const certificate = socket.getPeerX509Certificate()?.toString();
    socket.destroy();
    return certificate;
  };
  assert.equal(await shown(), trust.credentials.certificatePem);
  const renewed = hostCredentials("1");
  trust.change({ credentials: renewed });
  assert.equal(await shown(), renewed.certificatePem);
});

test("an authority that signs for another cluster is not believed, either", async (context) => {
  const served = await serve(context);
  // As if two clusters shared one authority.
  const authority = authorityOf(TEST_CLUSTER);
  await refused(served, { clusterId: OTHER_CLUSTER, authority });
  await until(() => served.refusals.length > 0);
  assert.match(JSON.stringify(served.refusals), /of cluster d+, not of c+/);
  assert.deepEqual(served.accepted, []);
});

test("without TLS or without a certificate nothing is listened to", async (context) => {
  const served = await serve(context);
  const plain = connectPlain(served.port, "127.0.0.1");
  plain.write("hello, hello, hello, hello, hello");
  plain.resume();
  await once(plain, "close");
  const bare = connectTls({ port: served.port, host: "127.0.0.1", rejectUnauthorized: false });
  bare.on("error", nobody);
  bare.on("secureConnect", () => bare.write("hello"));
  bare.resume();
  await once(bare, "close");
  await until(() => served.refusals.length >= 2);
  assert.deepEqual(served.accepted, []);
});

test("a stranger that listens is told apart from nobody", async () => {
  const connectTo = async (listener: Listener): Promise<unknown> => {
    const credentials = hostCredentials("2");
    const network = new TlsNetwork({
      clusterId: TEST_CLUSTER,
      trust: new TlsTrust(credentials),
      connectTimeoutMs: 300,
    });
    return await network.connect(listener.address);
  };
  const credentials = hostCredentials("1", { clusterId: OTHER_CLUSTER });
  const other = new TlsNetwork({ clusterId: OTHER_CLUSTER, trust: new TlsTrust(credentials) });
  const foreign = await other.listen(ANYWHERE, nobody);
  await assert.rejects(connectTo(foreign), { code: "certificate-refused" });
  await foreign.close();
  await assert.rejects(connectTo(foreign), { code: "connection-refused" });

  const deafs = new StreamNetwork();
  const silent = await deafs.listen(ANYWHERE, (stream) => stream.start(deaf));
  await assert.rejects(connectTo(silent), { code: "connection-timeout" });
  await silent.close();
  const rude = await deafs.listen(ANYWHERE, (stream) => {
    stream.start(deaf);
    stream.write(Buffer.from("220 this is no TLS\r\n"), -1);
  });
  await assert.rejects(connectTo(rude), { code: "connection-failed" });
  await rude.close();
  const gone = await deafs.listen(ANYWHERE, (stream) => stream.destroy());
  await assert.rejects(connectTo(gone), { code: "connection-failed" });
  await gone.close();
});

test("certificates that cannot be read are refused with the next step", () => {
  const credentials = { ...hostCredentials("1"), keyPem: hostCredentials("2").keyPem };
  assert.throws(
    () => new TlsNetwork({ clusterId: TEST_CLUSTER, trust: new TlsTrust(credentials) }),
    {
      code: "certificate-invalid",
    },
  );
});

test("streams that a replaced authority has proven end, one host after the other", async (context) => {
  const [before, next] = [
    makeAuthority(TEST_CLUSTER, Date.now()),
    makeAuthority(TEST_CLUSTER, Date.now(), "next"),
  ];
  const both = before.certificatePem + next.certificatePem;
  const own = { ...hostCredentials("1", { authority: before }), caPem: both };
  const trust = new TlsTrust(own);
  const served = await serve(context, trust);
  const ended = new Set<string>();
  const connectAs = async (name: string, authority: CertifiedKey): Promise<ByteStream> => {
    const credentials = { ...hostCredentials(name, { authority }), caPem: both };
    const network = new TlsNetwork({ clusterId: TEST_CLUSTER, trust: new TlsTrust(credentials) });
    const stream = await network.connect(served.listener.address);
    stream.start({
      ...deaf,
      closed: () => void ended.add(name),
      ended: () => void ended.add(name),
    });
    return stream;
  };
  await connectAs("2", before);
  await connectAs("3", before);
  const kept = await connectAs("4", next);
  await until(() => served.accepted.length === 3);
  for (const stream of served.accepted) stream.start(deaf);
  const renewed = { ...hostCredentials("1", { authority: next }), caPem: both };
  trust.change({ credentials: renewed });
  assert.equal(ended.size, 0);
  trust.change({ credentials: { ...renewed, caPem: next.certificatePem } });
  // One host after the other.
  await until(() => ended.size > 0);
  assert.equal(ended.size, 1);
  await until(() => ended.size === 2);
  assert.deepEqual([...ended].toSorted(), ["2", "3"]);
  await connectAs("5", before);
  await until(() => ended.has("5"));
  kept.destroy();
});
