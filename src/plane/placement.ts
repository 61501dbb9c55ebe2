/**
 * Where the components of a new volume go. Of f failures to tolerate come f + 1 legs and f
 * witnesses, each on a fault domain of its own and with one vote: whichever f domains are lost, at
 * least one whole leg and f + 1 of 2f + 1 votes are left. A striped leg has its vote on its first
 * component, and lies within one domain, so that it is lost as a whole.
 */
import { assert, CodedError } from "../base/index.ts";
import { component, mirror, stripe, STRIPE_UNIT_BLOCKS, witness } from "../cluster/index.ts";
import type { LegNode, ObjectPolicy, TreeNode, WitnessNode } from "../cluster/index.ts";

export interface PlacementHost {
  readonly hostId: string;
  readonly faultDomain: string;
}

export interface PlacementDevice {
  readonly deviceId: string;
  readonly hostId: string;
  readonly freeBytes: number;
}

export interface PlacedComponent {
  readonly componentId: string;
  readonly hostId: string;
  readonly deviceId: string;
}

export interface Placement {
  readonly tree: TreeNode;
  readonly placement: readonly PlacedComponent[];
}

/** Parts of a tree that stay, and the fault domains in which they are. */
export interface Kept {
  readonly legs: readonly LegNode[];
  readonly witnesses: readonly WitnessNode[];
  readonly domains: ReadonlySet<string>;
}

export interface PlacementWishes {
  readonly kept?: Kept;
  /** Whether the device has most of the contents already. */
  readonly isHolding?: (device: PlacementDevice) => boolean;
}

interface Domain {
  readonly name: string;
  /** What holds the contents already first, then what has the most room. */
  readonly devices: readonly PlacementDevice[];
  readonly isHolding: boolean;
  readonly freeBytes: number;
}

/**
 * `hosts` are those that can be reached. What is placed is what is not kept. Fails with
 * `policy-unsatisfiable`.
 */
export function placeVolume(
  policy: ObjectPolicy,
  hosts: readonly PlacementHost[],
  devices: readonly PlacementDevice[],
  newId: () => string,
  wishes: PlacementWishes = {},
): Placement {
  const { failuresToTolerate: failures } = policy;
  const { kept = NOTHING, isHolding = (): boolean => false } = wishes;
  const all = domainsOf(hosts, devices, isHolding);
  const domains = all.filter(({ name }) => !kept.domains.has(name));
  const legsWanted = failures + 1 - kept.legs.length;
  const wanted = legsWanted + failures - kept.witnesses.length;
  if (domains.length < wanted) throw tooFew(failures, [...kept.domains], domains);
  const placed: PlacedComponent[] = [];
  // Those with the most room get data, the next ones votes.
  const legs = [
    ...kept.legs,
    ...domains.slice(0, legsWanted).map((domain) => legIn(domain, policy.stripes, placed, newId)),
  ];
  const [single] = legs;
  assert(single !== undefined, "an object has a leg");
  if (failures === 0) return { tree: single, placement: placed };
  const witnesses = domains.slice(legsWanted, wanted).map((domain) => {
    const [device] = domain.devices;
    assert(device !== undefined, "a domain has a device");
    const componentId = newId();
    placed.push({ componentId, hostId: device.hostId, deviceId: device.deviceId });
    return witness(componentId);
  });
  return { tree: mirror([...legs, ...kept.witnesses, ...witnesses]), placement: placed };
}

const NOTHING: Kept = { legs: [], witnesses: [], domains: new Set() };

function legIn(
  domain: Domain,
  stripes: number,
  placed: PlacedComponent[],
  newId: () => string,
): LegNode {
  const nodes = Array.from({ length: stripes }, (_, column) => {
    const device = domain.devices[column % domain.devices.length];
    assert(device !== undefined, "a domain has a device");
    const componentId = newId();
    placed.push({ componentId, hostId: device.hostId, deviceId: device.deviceId });
    return component(componentId, column === 0 ? 1 : 0);
  });
  const [only] = nodes;
  assert(only !== undefined, "a leg has a component");
  return nodes.length === 1 ? only : stripe(nodes, STRIPE_UNIT_BLOCKS);
}

function domainsOf(
  hosts: readonly PlacementHost[],
  devices: readonly PlacementDevice[],
  isHolding: (device: PlacementDevice) => boolean,
): readonly Domain[] {
  const domainOf = new Map(hosts.map(({ hostId, faultDomain }) => [hostId, faultDomain]));
  const byDomain = new Map<string, PlacementDevice[]>();
  for (const device of devices) {
    const name = domainOf.get(device.hostId);
    if (name !== undefined) byDomain.set(name, [...(byDomain.get(name) ?? []), device]);
  }
  return [...byDomain]
    .map(([name, inside]) => ({
      name,
      devices: inside.toSorted(
        (a, b) => Number(isHolding(b)) - Number(isHolding(a)) || byRoom(a, b),
      ),
      isHolding: inside.some(isHolding),
      freeBytes: inside.reduce((sum, { freeBytes }) => sum + freeBytes, 0),
    }))
    .toSorted(
      (a, b) =>
        Number(b.isHolding) - Number(a.isHolding) ||
        b.freeBytes - a.freeBytes ||
        (a.name < b.name ? -1 : 1),
    );
}

function byRoom(a: PlacementDevice, b: PlacementDevice): number {
  return b.freeBytes - a.freeBytes || (a.deviceId < b.deviceId ? -1 : 1);
}

function tooFew(failures: number, kept: readonly string[], free: readonly Domain[]): CodedError {
  const wanted = 2 * failures + 1;
  const names = [...kept, ...free.map(({ name }) => name)];
  const found =
    names.length === 0
      ? "none has a device that can be reached"
      : `there are ${names.length}: ${names.join(", ")}`;
  const what =
    failures === 0
      ? "a volume needs a host"
      : `${failures} failures to tolerate need ${wanted} fault domains`;
  return new CodedError({
    code: "policy-unsatisfiable",
    message: `${what} with a device, and ${found}`,
    hint:
      failures === 0
        ? "add a device to a host"
        : "add hosts or devices, start what is down, or tolerate fewer (--failures-to-tolerate)",
    details: { wantedDomains: wanted, foundDomains: names.length },
  });
}
