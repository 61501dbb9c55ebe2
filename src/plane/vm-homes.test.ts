import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { component, directoryKeys, listVolumes } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld } from "../../test/support/cluster-world.ts";
import type { HostPlane } from "./host-plane.ts";
import { VmHomes } from "./vm-homes.ts";

function volume(name: string, hostId: string, isEncrypted: boolean): ObjectRecord {
  return {
    ...{ objectId: name, name, sizeBytes: 4096, epoch: 0, owner: undefined },
    policy: { failuresToTolerate: 0, stripes: 1 },
    tree: component(`${name}1`),
    components: [{ componentId: `${name}1`, hostId, deviceId: "d1", state: { kind: "active" } }],
    ...(isEncrypted ? { encryption: { domain: "default", domainId: "k1" } } : {}),
  };
}

/** A host that reaches h1 and not h2. */
function planeOf(records: readonly ObjectRecord[]): HostPlane {
  const hosts = {
    records: [{ hostId: "h1" }, { hostId: "h2" }],
    isReachable: (hostId: string) => hostId === "h1",
  };
  return { hosts, objects: { values: async () => records } } as unknown as HostPlane;
}

test("a machine is not accessible where its disks are out of reach, or their key is not", async () => {
  const records = [
    volume("dark", "h1", true),
    volume("far", "h2", false),
    volume("near", "h1", false),
  ];
  const vms = ["near", "far", "dark"].map((name) => ({ vm: `vm-${name}`, volumes: [name] }));
  let reason: string | undefined = "there is no key";
  const homes = new VmHomes(planeOf(records), () => reason);
  const without = await homes.reach(vms);
  assert.deepEqual(without.reaches, ["h1"]);
  const [far, dark, ...more] = without.inaccessible;
  assert.deepEqual(
    [far?.vm, dark, more],
    ["vm-far", { vm: "vm-dark", reason: "dark is encrypted: there is no key" }, []],
  );
  reason = undefined;
  const { inaccessible } = await homes.reach(vms);
  assert.deepEqual(
    inaccessible.map(({ vm }) => vm),
    ["vm-far"],
  );
});

test("a machine that is deleted while it is made safe leaves no home", async () => {
  for (let seed = 40; seed < 48; seed++) {
    const simulation = new Simulation({ seed });
    const world = new ClusterWorld(simulation, "abc");
    await simulation.run(async () => {
      await world.build();
      const [a, b] = ["a", "b"].map((letter) => {
        const { plane } = world.host(letter);
        return new VmHomes(plane, () => undefined);
      });
      const key = directoryKeys.vm(CLUSTER, "m");
      const policy = { failuresToTolerate: 0, stripes: 1 };
      await world.host("a").plane.createVolume({ name: "disk", sizeBytes: 2 ** 20, policy });
      await world.directory.transact([], [{ kind: "put", key, value: "{}" }]);
      const state = { vm: "m", sequence: 1, isProtected: true, definition: "" };
      const request = { state, volumes: ["disk"] };
      const names = async (): Promise<readonly string[]> =>
        (await listVolumes(world.directory, CLUSTER)).map(({ name }) => name).toSorted();

      const writing = a!.persist(request);
      await world.pass(world.prng.below(40));
      await world.directory.transact([], [{ kind: "delete", key }]);
      await b!.forget("m");
      await writing;
      assert.deepEqual(await names(), ["disk"]);
    });
  }
});
