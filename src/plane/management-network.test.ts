import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import { Simulation } from "../sim/index.ts";
import { ClusterWorld } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";

async function threeHosts(work: (world: ClusterWorld) => Promise<void>): Promise<void> {
  const simulation = new Simulation({ seed: 1 });
  const world = new ClusterWorld(simulation, "abc");
  await simulation.run(async () => {
    await world.build();
    await world.until(() => seen(world.host("a"), world.host("b")) === "storage, management");
    await work(world);
  });
}

/** Over which networks a host reaches another one. */
function seen(host: ClusterHost, other: ClusterHost): string {
  const networks = [
    ...(host.plane.hosts.isReachable(other.hostId) ? ["storage"] : []),
    ...(host.management.peer(other.hostId)?.isUp === true ? ["management"] : []),
  ];
  return networks.join(", ");
}

function isolate(world: ClusterWorld, letter: string, network: "storage" | "management"): void {
  const address = (host: ClusterHost): string =>
    network === "storage" ? host.address : host.managementAddress;
  const others = [...world.hosts.values()].filter((host) => host.letter !== letter);
  world.fabric.partition([address(world.host(letter))], others.map(address));
}

test("each network tells of its own hosts, whatever becomes of the other one", async () => {
  await threeHosts(async (world) => {
    const [a, b] = [world.host("a"), world.host("b")];
    assert.equal(a.management.peer(a.hostId), undefined, "a host is no peer of itself");
    isolate(world, "b", "storage");
    await world.until(() => seen(a, b) === "management" && seen(b, a) === "management");
    world.fabric.heal();
    await world.until(() => seen(a, b) === "storage, management");
    isolate(world, "b", "management");
    await world.until(() => seen(a, b) === "storage" && seen(b, a) === "storage");
    assert.equal(seen(a, world.host("c")), "storage, management");
    assert.ok(world.heard("management-down"), "an event says so");
    assert.match(a.management.peer(b.hostId)?.reason ?? "", /silent|did not answer|nobody answers/);
    world.fabric.heal();
    await world.until(() => seen(a, b) === "storage, management");
    assert.ok(!world.heard("lease-lost"));
  });
});

test("a host that dies out of reach of the storage network is proven dead over the other", async () => {
  await threeHosts(async (world) => {
    const [a, c] = [world.host("a"), world.host("c")];
    const policy = { failuresToTolerate: 1, stripes: 1 };
    const volume = { name: "v", sizeBytes: 2 ** 20, policy };
    const { objectId } = await a.plane.createVolume(volume);
    await a.take(objectId);
    isolate(world, "a", "storage");
    await world.until(() => seen(c, a) === "management");
    await assert.rejects(c.take(objectId), (error) => {
      return error instanceof CodedError && error.code === "volume-in-use";
    });
    a.kill();
    const begin = world.simulation.nowMs;
    const owner = await world.take(c, objectId);
    const tookMs = world.simulation.nowMs - begin;
    assert.ok(tookMs < 1000, `taken after ${tookMs} ms, which is before its lease has ended`);
    await owner.close();
  });
});
