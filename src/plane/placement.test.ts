import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { componentsOf, leavesOf, legsOf, treeInvalid, votesOf } from "../cluster/index.ts";
import { placeVolume } from "./placement.ts";
import type { Placement, PlacementDevice, PlacementHost } from "./placement.ts";

const FAILURES_MAX = 3;
const STRIPES_MAX = 12;

interface Cluster {
  readonly hosts: readonly PlacementHost[];
  readonly devices: readonly PlacementDevice[];
}

/** Domains with two hosts each, which have two devices each. */
function clusterOf(domains: number): Cluster {
  const hosts = Array.from({ length: 2 * domains }, (_none, i) => ({
    hostId: `h${i}`,
    faultDomain: `rack${Math.floor(i / 2)}`,
  }));
  const devices = hosts.flatMap(({ hostId }, i) =>
    ["a", "b"].map((name) => ({ deviceId: `${hostId}${name}`, hostId, freeBytes: 1000 + i })),
  );
  return { hosts, devices };
}

function place(policy: { failures: number; stripes: number }, cluster: Cluster): Placement {
  let next = 0;
  const { failures: failuresToTolerate, stripes } = policy;
  const { hosts, devices } = cluster;
  return placeVolume({ failuresToTolerate, stripes }, hosts, devices, () =>
    String(next++).padStart(32, "0"),
  );
}

/** All ways to choose `count` of them. */
function choices(all: readonly string[], count: number): readonly (readonly string[])[] {
  if (count === 0) return [[]];
  return all.flatMap((one, i) =>
    choices(all.slice(i + 1), count - 1).map((rest) => [one, ...rest]),
  );
}

test("whichever fault domains are lost: a whole leg and most votes are left", () => {
  for (let failures = 0; failures <= FAILURES_MAX; failures++) {
    for (let stripes = 1; stripes <= STRIPES_MAX; stripes++) {
      const cluster = clusterOf(2 * failures + 1);
      const { tree, placement } = place({ failures, stripes }, cluster);
      assert.equal(treeInvalid(tree), undefined);
      assert.equal(legsOf(tree).length, failures + 1);
      const domainOf = (componentId: string): string => {
        const hostId = placement.find((one) => one.componentId === componentId)?.hostId;
        return cluster.hosts.find((host) => host.hostId === hostId)?.faultDomain ?? "";
      };
      const domains = [...new Set(cluster.hosts.map((host) => host.faultDomain))];
      for (const lost of choices(domains, failures)) {
        const isLeft = (componentId: string): boolean => !lost.includes(domainOf(componentId));
        const votes = leavesOf(tree)
          .filter((leaf) => isLeft(leaf.componentId))
          .reduce((sum, leaf) => sum + leaf.votes, 0);
        const text = `${failures} failures, ${stripes} stripes, without ${lost.join(" ")}`;
        assert.ok(2 * votes > votesOf(tree), text);
        const isWhole = legsOf(tree).some((leg) =>
          componentsOf(leg).every((one) => isLeft(one.componentId)),
        );
        assert.ok(isWhole, text);
      }
    }
  }
});

test("too few fault domains are refused, with what is wanted and what is there", () => {
  for (let failures = 1; failures <= FAILURES_MAX; failures++) {
    const cluster = clusterOf(2 * failures);
    assert.throws(
      () => place({ failures, stripes: 1 }, cluster),
      (error) => {
        assert.ok(error instanceof CodedError);
        assert.equal(error.code, "policy-unsatisfiable");
        const found = 2 * failures;
        const wanted = `need ${found + 1} fault domains .* there are ${found}: .*rack0`;
        assert.match(error.message, new RegExp(wanted));
        return true;
      },
    );
  }
  assert.throws(() => place({ failures: 0, stripes: 1 }, clusterOf(0)), /a volume needs a host/);
});

test("two hosts with data and a small one are enough for a mirror; that one gets the vote", () => {
  const hosts = ["h1", "h2", "w"].map((hostId) => ({ hostId, faultDomain: hostId }));
  const room: Readonly<Record<string, number>> = { h1: 1000, h2: 900, w: 10 };
  const devices = hosts.map(({ hostId }) => ({
    ...{ deviceId: `${hostId}d`, hostId, freeBytes: room[hostId] ?? 0 },
  }));
  const { tree, placement } = place({ failures: 1, stripes: 1 }, { hosts, devices });
  const hostOf = (id: string): string | undefined =>
    placement.find((one) => one.componentId === id)?.hostId;
  const legs = legsOf(tree).flatMap((leg) =>
    componentsOf(leg).map((one) => hostOf(one.componentId)),
  );
  assert.deepEqual(legs, ["h1", "h2"]);
  const witnesses = leavesOf(tree).filter(({ kind }) => kind === "witness");
  assert.deepEqual(
    witnesses.map((one) => hostOf(one.componentId)),
    ["w"],
  );
});

test("copies go where there is room for their columns, and votes to where there is none", () => {
  const { hosts, devices } = clusterOf(3);
  let next = 0;
  const newId = (): string => `c${next++}`;
  // Of rack2, the roomiest by its sum, one device has room for two columns, the others have none.
  const roomiest = "h4a";
  const isSmall = ({ hostId }: PlacementDevice): boolean => hostId === "h4" || hostId === "h5";
  const columnsIn = (device: PlacementDevice): number => {
    if (isSmall(device)) return device.deviceId === roomiest ? 2 : 0;
    return 1;
  };
  const tooFull = (among: readonly PlacementDevice[]): CodedError =>
    new CodedError({ code: "no-room", message: `${among.length} devices` });
  const room = { columnsIn, tooFull };
  const policy = { failuresToTolerate: 1, stripes: 3 };
  const { tree, placement } = placeVolume(policy, hosts, devices, newId, { room });
  const homeOf = (componentId: string): string | undefined =>
    placement.find((one) => one.componentId === componentId)?.deviceId;
  const small = new Set(devices.filter(isSmall).map(({ deviceId }) => deviceId));
  for (const leg of legsOf(tree)) {
    const homes = componentsOf(leg).map(({ componentId }) => homeOf(componentId) ?? "");
    assert.equal(new Set(homes).size, 3, "each on a device of its own");
    assert.ok(homes.every((deviceId) => !small.has(deviceId)));
  }
  const votes = leavesOf(tree).filter(({ kind }) => kind === "witness");
  assert.deepEqual(
    votes.map(({ componentId }) => small.has(homeOf(componentId) ?? "")),
    [true],
  );
  const two = { failuresToTolerate: 0, stripes: 2 };
  const alone = placeVolume(two, hosts.slice(4), devices, newId, { room });
  assert.deepEqual(
    alone.placement.map(({ deviceId }) => deviceId),
    [roomiest, roomiest],
  );
  const three = { failuresToTolerate: 0, stripes: 3 };
  assert.throws(() => placeVolume(three, hosts.slice(4), devices, newId, { room }), /4 devices/);
});
