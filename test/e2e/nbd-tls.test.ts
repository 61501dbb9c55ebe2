/**
 * NBD under TLS, with the tools that people use: clients with certificates and with shared keys.
 */
import assert from "node:assert/strict";
import { X509Certificate, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions, PSKCallbackNegotation } from "node:tls";
import { fingerprintOf, issueClientCertificate } from "../../src/platform/index.ts";
import type { LogFields } from "../../src/ports/index.ts";
import { clientFlags, decodeOptionReplies, infoData, option } from "../nbd/client-bytes.ts";
import { hostCredentials, TEST_CLUSTER } from "../support/credentials.ts";
import { serve } from "./nbd-memory-server.ts";
import type { Served } from "./nbd-memory-server.ts";
import { runTool } from "./process.ts";

const MIB = 1 << 20;
const DAY_MS = 24 * 3600 * 1000;
const GREETING_BYTES = 18;
const OPTION_REPLY_BYTES = 20;

interface TlsServed extends Served {
  readonly port: number;
  readonly keys: Map<string, Uint8Array>;
  /** Names by fingerprints. */
  readonly certificates: Map<string, string>;
  readonly refusals: LogFields[];
  readonly caPem: string;
}

async function serveTls(t: TestContext, hasCertificate = true): Promise<TlsServed> {
  const keys = new Map<string, Uint8Array>();
  const certificates = new Map<string, string>();
  const refusals: LogFields[] = [];
  const credentials = hostCredentials("1");
  const served = await serve(t, {
    sizeBytes: 4 * MIB,
    tls: {
      credentials: () => (hasCertificate ? credentials : undefined),
      clients: async () => ({
        keyOf: (name) => keys.get(name),
        nameOf: (fingerprint) => certificates.get(fingerprint),
      }),
      log: { write: (_level, _message, fields) => void refusals.push(fields ?? {}) },
    },
  });
  const { address } = served.server;
  assert(address.kind === "tcp");
  const { caPem } = credentials;
  return { ...served, keys, certificates, refusals, caPem, port: address.port };
}

interface ClientFiles {
  readonly folder: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** A folder as libnbd and QEMU want it. */
function certified(
  served: TlsServed,
  name: string,
  { nowMs = Date.now(), isKnown = true, caPem = served.caPem } = {},
): ClientFiles {
  const made = issueClientCertificate({ clusterId: TEST_CLUSTER, name }, nowMs, DAY_MS);
  const folder = join(served.folder, name);
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(join(folder, "ca-cert.pem"), caPem + made.authorityPem);
  writeFileSync(join(folder, "client-cert.pem"), made.certificatePem);
  writeFileSync(join(folder, "client-key.pem"), made.keyPem, { mode: 0o600 });
  const fingerprint = fingerprintOf(new X509Certificate(made.certificatePem));
  if (isKnown) served.certificates.set(fingerprint, name);
  return { folder, ...made };
}

/** The file of a shared key, as libnbd and QEMU want it. */
function keyed(served: TlsServed, name: string, key = randomBytes(32)): string {
  const folder = join(served.folder, `psk-${name}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, "keys.psk");
  writeFileSync(file, `${name}:${key.toString("hex")}\n`, { mode: 0o600 });
  return file;
}

const byCertificate = ({ port }: TlsServed, folder: string): string =>
  `nbds://127.0.0.1:${port}/v1?tls-certificates=${folder}`;
const byKey = ({ port }: TlsServed, name: string, file: string): string =>
  `nbds://${name}@127.0.0.1:${port}/v1?tls-psk-file=${file}`;

async function refused(served: TlsServed, uri: string, reason: RegExp): Promise<void> {
  const count = served.refusals.length;
  await runTool("nbdinfo", ["--size", uri], { codes: [1] });
  await until(() => served.refusals.length > count);
  assert.equal(served.refusals.length, count + 1, "one refusal is in the log");
  assert.match(String(served.refusals.at(-1)!["cause"]), reason);
  assert.equal(served.volume.allocatedBytes, 0, "nothing was opened");
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!condition()) {
    assert(performance.now() < endMs, "it did not come");
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}

test("clients with a certificate: nbdinfo, nbdcopy, qemu-img and qemu-io", async (t) => {
  const served = await serveTls(t);
  const { folder } = certified(served, "anna");
  const uri = byCertificate(served, folder);
  const { stdout } = await runTool("nbdinfo", ["--json", uri]);
  assert.match(stdout, /"TLS": true/);
  const source = join(served.folder, "source.raw");
  writeFileSync(source, randomBytes(4 * MIB));
  await runTool("nbdcopy", [source, uri]);
  const options = [
    ...["--object", `tls-creds-x509,id=tls0,endpoint=client,dir=${folder}`, "--image-opts"],
    `driver=nbd,host=127.0.0.1,port=${served.port},export=v1,tls-creds=tls0`,
  ];
  const info = await runTool("qemu-img", ["info", ...options]);
  assert.match(info.stdout, /virtual size: 4 MiB/);
  await runTool("qemu-io", ["-c", "write -P 7 1M 64k", ...options]);
  const target = join(served.folder, "target.raw");
  await runTool("nbdcopy", [uri, target]);
  assert.deepEqual(readFileSync(target), Buffer.from(served.volume.bytes));
  assert.equal(served.volume.bytes[MIB], 7);
});

test("clients with a shared key, with and without a certificate of the host", async (t) => {
  for (const hasCertificate of [true, false]) {
    const served = await serveTls(t, hasCertificate);
    const key = randomBytes(32);
    served.keys.set("backup", key);
    const file = keyed(served, "backup", key);
    const { stdout } = await runTool("nbdinfo", ["--json", byKey(served, "backup", file)]);
    assert.match(stdout, /"TLS": true/);
    const dir = join(file, "..");
    const info = await runTool("qemu-img", [
      ...["info", "--object"],
      `tls-creds-psk,id=tls0,endpoint=client,username=backup,dir=${dir}`,
      "--image-opts",
      `driver=nbd,host=127.0.0.1,port=${served.port},export=v1,tls-creds=tls0`,
    ]);
    assert.match(info.stdout, /virtual size: 4 MiB/);
  }
});

test("whoever is not on the list is refused: no proof, wrong, unknown, expired", async (t) => {
  const served = await serveTls(t);
  served.keys.set("backup", randomBytes(32));
  await refused(served, byKey(served, "backup", keyed(served, "backup")), /./);
  await refused(served, byKey(served, "nobody", keyed(served, "nobody")), /./);
  const stranger = certified(served, "stranger", { isKnown: false });
  await refused(served, byCertificate(served, stranger.folder), /of none of the clients/);
  const old = certified(served, "old", { nowMs: Date.now() - 2 * DAY_MS });
  await refused(served, byCertificate(served, old.folder), /expired/);
  const early = certified(served, "early", { nowMs: Date.now() + 2 * DAY_MS });
  await refused(served, byCertificate(served, early.folder), /not valid yet/);
  // The cluster's own hosts are no clients, and a client of another cluster refuses this host.
  const { certificatePem, keyPem } = hostCredentials("2");
  const host = certified(served, "host", { isKnown: false });
  writeFileSync(join(host.folder, "client-cert.pem"), certificatePem);
  writeFileSync(join(host.folder, "client-key.pem"), keyPem);
  await refused(served, byCertificate(served, host.folder), /of none of the clients/);
  const other = hostCredentials("3", { clusterId: "d".repeat(32) });
  const lost = certified(served, "lost", { caPem: other.caPem });
  await refused(served, byCertificate(served, lost.folder), /./);
});

test("plain clients are told that TLS is required, by each tool", async (t) => {
  const served = await serveTls(t);
  const uri = `nbd://127.0.0.1:${served.port}/v1`;
  const info = await runTool("nbdinfo", [uri], { codes: [1] });
  assert.match(info.stderr, /Operation not supported/);
  const image = await runTool("qemu-img", ["info", "-f", "raw", uri], { codes: [1] });
  assert.match(image.stderr, /TLS/);
  assert.equal(served.refusals.length, 0);
});

/** Everything that comes until there is enough, or until the server lets go. */
function received(socket: Socket, lengthBytes: number): Promise<Buffer> {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    const finish = (): void => {
      socket.off("data", add);
      socket.off("close", finish);
      socket.pause();
      resolve(bytes);
    };
    const add = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length >= lengthBytes) finish();
    };
    // A reset is as good an end as any.
    socket.on("error", () => undefined);
    socket.on("data", add);
    socket.on("close", finish);
    socket.resume();
  });
}

/** Asks for TLS, with `rest` in the same piece; up to the answer. */
async function startTls({ port }: TlsServed, rest: Buffer = Buffer.alloc(0)): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(Buffer.concat([clientFlags(), option(5), rest]));
  const answer = await received(socket, GREETING_BYTES + OPTION_REPLY_BYTES);
  assert.equal(answer.length, GREETING_BYTES + (rest.length > 0 ? 0 : OPTION_REPLY_BYTES));
  return socket;
}

test("options planted before the handshake end the connection (CVE-2021-3716)", async (t) => {
  const served = await serveTls(t);
  for (const planted of [option(8), option(7, infoData("v1"))]) {
    const socket = await startTls(served, planted);
    assert(socket.destroyed, "the server lets go");
  }
});

test("plain options after STARTTLS was answered are no handshake", async (t) => {
  const served = await serveTls(t);
  const socket = await startTls(served);
  socket.write(Buffer.concat([option(8), option(7, infoData("v1"))]));
  const answer = await received(socket, Number.POSITIVE_INFINITY);
  // At most an alert of TLS comes.
  assert(!answer.includes(Buffer.from("0003e889", "hex")), "no answer of NBD");
  assert.equal(served.refusals.length, 1);
});

async function upgraded(
  served: TlsServed,
  options: ConnectionOptions,
  onSession: (session: Buffer) => void = () => undefined,
): Promise<string> {
  const socket = await startTls(served);
  const tls = connectTls({ socket, rejectUnauthorized: false, ...options });
  tls.on("session", onSession);
  return await new Promise((resolve) => {
    tls.once("error", () => resolve("refused"));
    tls.once("close", () => resolve("refused"));
    tls.once("secureConnect", () => {
      tls.write(option(7, infoData("v1")));
      tls.once("data", (bytes: Buffer) => {
        resolve(decodeOptionReplies(bytes).length > 0 ? "served" : "refused");
        tls.destroy();
      });
    });
  });
}

test("a shared key counts only if its holder has proven it", async (t) => {
  const served = await serveTls(t);
  const psk = randomBytes(32);
  served.keys.set("backup", psk);
  const sha256 = "TLS_AES_128_GCM_SHA256";
  const sha384 = "TLS_AES_256_GCM_SHA384";
  const claim = (ciphers: string, key: Buffer): ConnectionOptions => {
    const pskCallback = (): PSKCallbackNegotation => ({ identity: "backup", psk: key });
    return { ciphers, pskCallback, checkServerIdentity: () => undefined };
  };
  assert.equal(await upgraded(served, claim(sha256, psk)), "served");
  // Where the key is passed over the name alone lets nobody in.
  for (const ciphers of [sha256, sha384, `${sha384}:${sha256}`])
    assert.equal(await upgraded(served, claim(ciphers, randomBytes(32))), "refused", ciphers);
  assert.equal(await upgraded(served, {}), "refused", "no proof at all");
  assert.equal(await upgraded(served, { maxVersion: "TLSv1.2" }), "refused", "an old version");
});

test("sessions are not resumed: who has lost its place is not let in by an old one", async (t) => {
  const served = await serveTls(t);
  const { certificatePem, keyPem } = certified(served, "anna");
  const sessions: Buffer[] = [];
  const proof = { cert: certificatePem, key: keyPem };
  const take = (session: Buffer): void => void sessions.push(session);
  assert.equal(await upgraded(served, proof, take), "served");
  served.certificates.clear();
  for (const session of sessions) {
    assert.equal(await upgraded(served, { session }), "refused");
    assert.equal(await upgraded(served, { ...proof, session }), "refused");
  }
});
