/**
 * A member of etcd that is started and watched: it comes back when it dies, and ends on command.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestContext } from "node:test";
import { EtcdDirectory, EtcdServer } from "../../src/platform/index.ts";
import type { EtcdMember, EtcdServerOptions } from "../../src/platform/index.ts";
import type { Log, LogLevel } from "../../src/ports/index.ts";
import { Authority, opensslMissing } from "./certificates.ts";
import { etcdMissing, freePorts } from "./etcd.ts";
import { Program } from "./process.ts";

const missing = etcdMissing() ?? opensslMissing();
const options = missing === undefined ? { timeout: 60_000 } : { skip: missing };
const KEY = "/drystone/test/a";

class MemoryLog implements Log {
  readonly lines: { level: LogLevel; message: string }[] = [];

  write(level: LogLevel, message: string): void {
    this.lines.push({ level, message });
  }

  has(pattern: RegExp): boolean {
    return this.lines.some(({ message }) => pattern.test(message));
  }
}

/** What it takes to start a member of a cluster of `count`, in a folder that goes with the test. */
async function members(
  context: TestContext,
  count: number,
  more: Partial<EtcdServerOptions> = {},
): Promise<EtcdServerOptions[]> {
  const folder = mkdtempSync("/var/tmp/drystone-etcd-");
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const scheme = more.clientTls === undefined ? "http" : "https";
  const ports = await freePorts(2 * count);
  const peerUrl = (i: number): string => `${scheme}://127.0.0.1:${ports[2 * i + 1]}`;
  const names = Array.from({ length: count }, (_, i) => `h${i + 1}`);
  const initialCluster = Object.fromEntries(names.map((name, i) => [name, peerUrl(i)]));
  return names.map((name, i) => ({
    name,
    dataDir: join(folder, name),
    clientUrl: `${scheme}://127.0.0.1:${ports[2 * i]}`,
    peerUrl: peerUrl(i),
    initialCluster,
    clusterToken: "test",
    electionTimeoutMs: 500,
    ...more,
  }));
}

async function start(context: TestContext, member: EtcdServerOptions): Promise<EtcdServer> {
  const server = await EtcdServer.start(member);
  context.after(async () => await server.stop());
  return server;
}

function directoryOf(
  context: TestContext,
  all: readonly EtcdServerOptions[],
  tls: object = {},
): EtcdDirectory {
  const endpoints = all.map(({ clientUrl }) => clientUrl);
  const directory = new EtcdDirectory({ endpoints, tls });
  context.after(async () => await directory.close());
  return directory;
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

test(
  "a member that is killed comes back with its data, and stops on command",
  options,
  async (t) => {
    const log = new MemoryLog();
    const [member] = await members(t, 1, { log });
    assert.ok(member !== undefined);
    const server = await start(t, member);
    await server.healthy(20_000);
    const directory = directoryOf(t, [member]);
    await directory.transact([], [{ kind: "put", key: KEY, value: "1" }]);
    const first = server.pid;
    assert.ok(first !== undefined);
    process.kill(first, "SIGKILL");
    assert.equal((await directory.get(KEY))?.value, "1");
    await server.healthy(20_000);
    assert.equal(server.restartCount, 1);
    const second = server.pid;
    assert.ok(second !== undefined && second !== first);
    assert.ok(log.has(/etcd has ended and will be started again/));
    assert.ok(log.has(/^etcd: .*serving/));
    await directory.close();
    await server.stop();
    assert.equal(isAlive(second), false);
    assert.equal(server.restartCount, 1);
    await assert.rejects(server.healthy(1000), { code: "etcd-unhealthy" });
  },
);

test(
  "three members with certificates become a cluster once a majority runs",
  options,
  async (t) => {
    const folder = mkdtempSync("/var/tmp/drystone-certificates-");
    t.after(() => rmSync(folder, { recursive: true }));
    const authority = await Authority.make(folder);
    const { certificatePath, keyPath, certificatePem, keyPem } = await authority.issue("host");
    const tls = { certificatePath, keyPath, caPath: authority.path };
    const all = await members(t, 3, { clientTls: tls, peerTls: tls });
    const first = await start(t, all[0]!);
    await assert.rejects(first.healthy(700), { code: "etcd-unhealthy" });
    const others = [await start(t, all[1]!), await start(t, all[2]!)];
    await Promise.all([first, ...others].map((server) => server.healthy(30_000)));
    const directory = directoryOf(t, all, { caPem: authority.pem, certificatePem, keyPem });
    await directory.transact([], [{ kind: "put", key: KEY, value: "1" }]);
    await first.stop();
    assert.equal((await directory.get(KEY))?.value, "1");
    const again = await start(t, all[0]!);
    await again.healthy(30_000);
  },
);

test(
  "a member that was just given its vote has it when all were killed at once",
  options,
  async (t) => {
    const [one, two, added] = await members(t, 3);
    assert.ok(one !== undefined && two !== undefined && added !== undefined);
    const initialCluster = { [one.name]: one.peerUrl, [two.name]: two.peerUrl };
    const [first, second] = await Promise.all(
      [one, two].map((member) => start(t, { ...member, initialCluster })),
    );
    assert.ok(first !== undefined && second !== undefined);
    await first.healthy(20_000);
    const directory = directoryOf(t, [one, two]);
    await directory.transact([], [{ kind: "put", key: KEY, value: "kept" }]);
    await directory.members.addLearner(added.peerUrl);
    const third = await start(t, { ...added, initialClusterState: "existing" });
    const own = async (): Promise<EtcdMember> => {
      const all = await directory.members.list();
      const found = all.find(({ peerUrls }) => peerUrls[0] === added.peerUrl);
      assert.ok(found !== undefined);
      return found;
    };
    // Refused until it has caught up.
    while ((await own()).isLearner)
      await directory.members.promote((await own()).id).catch(() => sleep(50));
    // Asked itself, it answers when it has it.
    await directoryOf(t, [added]).members.keepVote(await own());
    for (const { pid } of [first, second, third]) process.kill(pid!, "SIGKILL");
    await first.stop();
    // Neither of the others decides anything without the vote of the other.
    await Promise.all([second, third].map((server) => server.healthy(20_000)));
    assert.equal((await directory.get(KEY))?.value, "kept");
  },
);

test("what a killed host left running is ended first", options, async (t) => {
  const log = new MemoryLog();
  const [member] = await members(t, 1, { log });
  assert.ok(member !== undefined);
  const { name, dataDir, clientUrl, peerUrl } = member;
  mkdirSync(dataDir);
  const left = new Program("etcd left behind", "etcd", [
    ...["--name", name, "--data-dir", join(dataDir, "etcd")],
    ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
    ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
    ...["--initial-cluster", `${name}=${peerUrl}`],
  ]);
  t.after(async () => await left.kill());
  await left.waitForLine(/serving .*client/);
  writeFileSync(join(dataDir, "drystone.pid"), `${left.pid}\n`);
  const before = directoryOf(t, [member]);
  await before.transact([], [{ kind: "put", key: KEY, value: "kept" }]);
  const server = await start(t, member);
  await left.ended;
  assert.ok(log.has(/left behind/));
  await server.healthy(20_000);
  assert.equal((await before.get(KEY))?.value, "kept");
});

test("a process that has the pid of a member that is gone is left alone", options, async (t) => {
  const [member] = await members(t, 1);
  assert.ok(member !== undefined);
  mkdirSync(member.dataDir);
  writeFileSync(join(member.dataDir, "drystone.pid"), `${process.pid}\n`);
  const server = await start(t, member);
  await server.healthy(20_000);
});

test(
  "a member that cannot start says why, and a program that is missing is told",
  options,
  async (t) => {
    const [member] = await members(t, 1);
    assert.ok(member !== undefined);
    // An address that this machine does not have.
    const server = await start(t, { ...member, clientUrl: "http://192.0.2.1:2379" });
    await assert.rejects(server.healthy(1000), (error: Error) => {
      assert.match(error.message, /it said: .*192\.0\.2\.1:2379: bind: cannot assign/);
      return true;
    });
    const program = "/nonexistent/etcd";
    await assert.rejects(EtcdServer.start({ ...member, program }), { code: "etcd-missing" });
  },
);
