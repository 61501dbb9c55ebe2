/** The directory on an etcd that wants certificates, a user and a password. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { EtcdDirectory } from "../../src/platform/index.ts";
import type { EtcdClientOptions } from "../../src/platform/index.ts";
import type { DirectoryEvent } from "../../src/ports/index.ts";
import { Authority, opensslMissing } from "./certificates.ts";
import { EtcdCluster, etcdMissing } from "./etcd.ts";

const missing = etcdMissing() ?? opensslMissing();
const options = missing === undefined ? { timeout: 60_000 } : { skip: missing };
const KEY = "/drystone/test/a";

function open(context: TestContext, clientOptions: EtcdClientOptions): EtcdDirectory {
  const directory = new EtcdDirectory(clientOptions);
  context.after(async () => await directory.close());
  return directory;
}

async function put(directory: EtcdDirectory, value: string): Promise<number> {
  return (await directory.transact([], [{ kind: "put", key: KEY, value }])).revision;
}

/** Resolves with the value once the watch has delivered it. */
function arrival(directory: EtcdDirectory, fromRevision: number, value: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onEvent = (event: DirectoryEvent): void => {
      if (event.kind === "put" && event.record.value === value) resolve();
    };
    directory.watch(KEY, fromRevision, onEvent, () => reject(new Error("the watch was lost")));
  });
}

test("over TLS, both ends show a certificate of the authority", options, async (t) => {
  const folder = mkdtempSync("/var/tmp/drystone-certificates-");
  t.after(() => rmSync(folder, { recursive: true }));
  const authority = await Authority.make(folder);
  const other = await Authority.make(folder, "other");
  const server = await authority.issue("server");
  const client = await authority.issue("client");
  const cluster = await EtcdCluster.start({
    scheme: "https",
    args: [
      ...["--cert-file", server.certificatePath, "--key-file", server.keyPath],
      ...["--trusted-ca-file", authority.path, "--client-cert-auth"],
    ],
  });
  t.after(async () => await cluster.dispose());
  const { endpoints } = cluster;
  const { certificatePem, keyPem } = client;
  const directory = open(t, { endpoints, tls: { caPem: authority.pem, certificatePem, keyPem } });
  const revision = await put(directory, "1");
  await arrival(directory, revision, "1");
  assert.equal((await directory.get(KEY))?.value, "1");
  const callTimeoutMs = 500;
  for (const tls of [
    { caPem: authority.pem },
    { certificatePem, keyPem },
    { caPem: other.pem, certificatePem, keyPem },
  ]) {
    const stranger = open(t, { endpoints, callTimeoutMs, tls });
    await assert.rejects(stranger.get(KEY), { code: "directory-unavailable" });
  }
});

test("a user has its token renewed, and a wrong password is told", options, async (t) => {
  const cluster = await EtcdCluster.start();
  t.after(async () => await cluster.dispose());
  const users = [
    { name: "root", password: "of all" },
    { name: "drystone", password: "wall" },
  ];
  for (const user of users) await cluster.post("auth/user/add", user);
  await cluster.post("auth/role/add", { name: "root" });
  await cluster.post("auth/user/grant", { user: "root", role: "root" });
  await cluster.post("auth/role/add", { name: "drystone" });
  // The permission that the documents ask for: everything below /drystone/.
  const from = Buffer.from("/drystone/").toString("base64");
  const to = Buffer.from("/drystone0").toString("base64");
  const perm = { permType: "READWRITE", key: from, range_end: to };
  await cluster.post("auth/role/grant", { name: "drystone", perm });
  await cluster.post("auth/user/grant", { user: "drystone", role: "drystone" });

  const { endpoints } = cluster;
  const credentials = { user: "drystone", password: "wall" };
  const directory = open(t, { endpoints, credentials, probeIntervalMs: 200 });
  const early = await put(directory, "before");
  await cluster.post("auth/enable", {});
  await put(directory, "1");
  const second = arrival(directory, early + 1, "2");
  // A member that was restarted knows no token any more.
  await cluster.killMember(0);
  await cluster.startMember(0);
  await put(directory, "2");
  await second;
  const lease = await directory.grantLease(60_000);
  assert.ok((await directory.keepAlive(lease)) > 0);
  // A change of a role makes the tokens of before invalid.
  const body = { name: "root", password: "of all" };
  const { token } = (await cluster.post("auth/authenticate", body)) as { token: string };
  await cluster.post("auth/role/add", { name: "another" }, token);
  const third = await put(directory, "3");
  await arrival(directory, third, "3");

  const elsewhere = directory.transact([], [{ kind: "put", key: "/elsewhere", value: "1" }]);
  await assert.rejects(elsewhere, { code: "directory-refused" });
  const wrong = open(t, { endpoints, credentials: { user: "drystone", password: "brick" } });
  await assert.rejects(wrong.get(KEY), { code: "directory-refused" });
  const nobody = open(t, { endpoints });
  await assert.rejects(nobody.get(KEY), { code: "directory-refused" });
});
