import assert from "node:assert/strict";
import { directoryKeys, EmbeddedDirectory } from "../cluster/index.ts";
import type { HostVerdict, Links } from "../link/index.ts";
import { MetadataMedium, SimLog, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { CLUSTER, hostIdOf } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { ClusterHosts } from "./cluster-hosts.ts";

/** Whether a host counts as one that may be at work, by what each network tells of it. */
async function isAlive(
  hasLease: boolean,
  storage: HostVerdict,
  management: HostVerdict | undefined,
): Promise<boolean> {
  const simulation = new Simulation({ seed: 1 });
  let answer = false;
  await simulation.run(async () => {
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const directory = await EmbeddedDirectory.open(store, machine.clock);
    const [hostId, other] = [hostIdOf("a"), hostIdOf("b")];
    const key = directoryKeys.alive(CLUSTER, other);
    if (hasLease) await directory.transact([], [{ kind: "put", key, value: "{}" }]);
    const { clock } = machine;
    const hosts = new ClusterHosts({
      ...{ directory, clusterId: CLUSTER, hostId, clock, log: new SimLog(clock) },
      links: { verdictOn: () => Promise.resolve(storage) } as unknown as Links,
      addressOf: () => "",
      parseAddress: () => assert.fail("nobody is dialled"),
      ...(management === undefined ? {} : { elsewhere: () => Promise.resolve(management) }),
    });
    answer = await hosts.isAlive(other);
  });
  return answer;
}

test("a host whose lease has ended is not at work, whatever is heard of it", async () => {
  assert.equal(await isAlive(false, "heard", "heard"), false);
});

test("one whose lease lives is, until its machine says that its process is gone", async () => {
  assert.equal(await isAlive(true, "silent", "silent"), true);
  assert.equal(await isAlive(true, "gone", "silent"), false);
  assert.equal(await isAlive(true, "silent", "gone"), false);
  assert.equal(await isAlive(true, "gone", "gone"), false);
  assert.equal(await isAlive(true, "gone", undefined), false);
});

test("where a firewall refuses on one network, the host is heard on the other one", async () => {
  assert.equal(await isAlive(true, "gone", "heard"), true);
  assert.equal(await isAlive(true, "heard", "gone"), true);
});
