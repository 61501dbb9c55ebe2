/** A directory that the cluster's first three hosts keep: members come, go, and come back. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { etcdMissing } from "./etcd.ts";
import { CLUSTER_PORTS, freePort, NO_MIRROR, temporaryFolder } from "./harness.ts";
import { JoinedCluster } from "./joined-cluster.ts";
import { PacedLoad } from "./paced-load.ts";

const missing = etcdMissing();
const options = missing === undefined ? { timeout: 240_000 } : { skip: missing };
const WAIT_MS_MAX = 60_000;
const LOOK_MS = 250;

interface Shown {
  readonly health: string;
  readonly reasons: readonly { readonly code: string }[];
  readonly directory: {
    readonly members: readonly { readonly host: string; readonly state: string }[];
  };
}

/** Waits until a host says so of the members, as "h1 well, h2 silent". */
async function membersAre(cluster: JoinedCluster, asked: string, wanted: string): Promise<Shown> {
  const limit = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const shown = await cluster.cli<Shown>(asked, ["status"]);
    const { members } = shown.directory;
    const said = members
      .map(({ host, state }) => `${host} ${state}`)
      .toSorted()
      .join(", ");
    if (said === wanted) return shown;
    assert.ok(performance.now() < limit, `${asked} says of the members: ${said}`);
    await sleep(LOOK_MS);
  }
}

/** Waits until three are well, with the one of the asked host not among those that are not. */
async function threeWell(cluster: JoinedCluster, asked: string): Promise<readonly string[]> {
  const limit = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const { members } = (await cluster.cli<Shown>(asked, ["status"])).directory;
    const isWell = members.every(({ state }) => state === "well");
    if (isWell && members.length === 3) return members.map(({ host }) => host).toSorted();
    assert.ok(performance.now() < limit, `${asked} says: ${JSON.stringify(members)}`);
    await sleep(LOOK_MS);
  }
}

async function leaseLost(cluster: JoinedCluster, asked: string, gone: string): Promise<void> {
  const limit = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const { hosts } = await cluster.cli<{
      readonly hosts: readonly { readonly name: string; readonly lease: string }[];
    }>(asked, ["host", "list"]);
    if (hosts.find(({ name }) => name === gone)?.lease === "lost") return;
    assert.ok(performance.now() < limit, JSON.stringify(hosts));
    await sleep(LOOK_MS);
  }
}

interface Aged {
  readonly volumes?: readonly { readonly name: string }[];
  readonly ageMs?: number;
}

test("without etcd a directory of its own is refused, and nothing is written", async (t) => {
  const folder = temporaryFolder(t);
  const cluster = new JoinedCluster(t, folder, await freePort(CLUSTER_PORTS));
  const refusal = await cluster.refusedInit("h1", ["--directory", "etcd"], folder);
  assert.equal(refusal.code, "etcd-missing");
  assert.match(refusal.hint ?? "", /etcd-server/);
  assert.equal(fs.existsSync(path.join(folder, "h1")), false);
});

test(
  "the first three hosts keep the directory, and the loss of any one of them stops nothing",
  options,
  async (t) => {
    const cluster = new JoinedCluster(t, temporaryFolder(t), await freePort(CLUSTER_PORTS));
    await cluster.init("h1", ["--directory", "etcd"]);
    await cluster.start("h1");
    await membersAre(cluster, "h1", "h1 well");
    for (const host of ["h2", "h3", "h4"])
      await cluster.join(host, "h1", await cluster.token("h1"));
    await cluster.start("h2");
    // Of two members the loss of either would stop both.
    await membersAre(cluster, "h2", "h1 well");
    await cluster.start("h3");
    await membersAre(cluster, "h1", "h1 well, h2 well, h3 well");
    await cluster.start("h4");

    // The first host dies with its member: the others decide as before.
    await cluster.kill("h1");
    cluster.killMember("h1");
    await cluster.cli("h4", ["volume", "create", "v1", "--size", "1G"]);
    const { reasons } = await membersAre(cluster, "h2", "h1 silent, h2 well, h3 well");
    assert.ok(reasons.some(({ code }) => code === "directory-member-away"));
    await cluster.start("h1");
    await membersAre(cluster, "h4", "h1 well, h2 well, h3 well");

    // A member that has lost its data has lost what it promised: it goes, and comes back as a new
    // one, unless another host was quicker.
    await cluster.stop("h2");
    fs.rmSync(path.join(cluster.folder, "h2", "directory", "etcd"), { recursive: true });
    await cluster.start("h2");
    const members = await threeWell(cluster, "h2");
    assert.ok(members.includes("h1") && members.includes("h3"));

    // After a power cut of all, hosts wait for a majority, whichever comes first.
    const all = ["h1", "h2", "h3", "h4"];
    for (const host of all) await cluster.kill(host);
    for (const host of all) cluster.killMember(host);
    const started = [...all.filter((host) => !members.includes(host)), ...members.slice(1)];
    for (const host of started) await cluster.launch(host);
    for (const host of started) await cluster.ready(host);
    const { volumes } = await cluster.cli<{ volumes: readonly { readonly name: string }[] }>(
      started[0]!,
      ["volume", "list"],
    );
    assert.deepEqual(
      volumes.map(({ name }) => name),
      ["v1"],
    );

    // A host that is gone for good is taken out, and the one that was not needed takes its place.
    const asked = started[0]!;
    await cluster.cli(asked, ["volume", "delete", "v1", "--yes"]);
    await leaseLost(cluster, asked, "h1");
    await cluster.cli(asked, ["host", "remove", "h1", "--yes"]);
    assert.deepEqual(await threeWell(cluster, asked), ["h2", "h3", "h4"]);
    for (const host of started) await cluster.stop(host);
  },
);

test(
  "while the directory is away, volumes are served, nothing is decided, and status says so",
  options,
  async (t) => {
    const folder = temporaryFolder(t);
    const cluster = new JoinedCluster(t, folder, await freePort(CLUSTER_PORTS));
    await cluster.init("h1", ["--directory", "etcd"]);
    await cluster.start("h1");
    await cluster.cli("h1", ["volume", "create", "v1", "--size", "64M", ...NO_MIRROR]);
    const socket = path.join(folder, "v1.sock");
    await cluster.cli("h1", ["volume", "attach", "v1", "--nbd", socket]);
    const load = await PacedLoad.start({ socket, exportName: "v1" }, 2);
    await load.progress(20);
    await cluster.cli("h1", ["stats"]);
    cluster.signalMember("h1", "SIGSTOP");
    await load.progress(100);
    const refusal = await cluster.refusedCli("h1", [
      ...["volume", "create", "v2", "--size", "64M", ...NO_MIRROR],
    ]);
    assert.match(refusal.code, /^directory-/);
    const { reasons } = await cluster.cli<Shown>("h1", ["status"]);
    const codes = reasons.map(({ code }) => code);
    assert.ok(codes.includes("directory-unavailable") || codes.includes("own-lease-lost"));
    const { volumes } = await cluster.cli<{ volumes: readonly object[] }>("h1", ["stats"]);
    assert.equal(volumes.length, 1);
    const listed = await cluster.cli<Aged>("h1", ["volume", "list"]);
    assert.deepEqual([listed.volumes?.map(({ name }) => name), listed.ageMs! > 0], [["v1"], true]);
    assert.ok((await cluster.cli<Aged>("h1", ["volume", "show", "v1"])).ageMs! > 0);
    cluster.signalMember("h1", "SIGCONT");
    await membersAre(cluster, "h1", "h1 well");
    // What waited when the lease had ended is served again, by the same host.
    await load.progress(100);
    await load.stop();
    await load.verify({ socket, exportName: "v1" });
    await cluster.cli("h1", ["volume", "create", "v2", "--size", "64M", ...NO_MIRROR]);
    await cluster.stop("h1");
  },
);
