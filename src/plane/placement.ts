/**
 * Where the components of a new volume go. Of f failures to tolerate come f + 1 legs and f
 * witnesses, each on a fault domain of its own and with one vote: whichever f domains are lost, at
 * least one whole leg and f + 1 of 2f + 1 votes are left. A striped leg has its vote on its first
 * component, and lies within one domain, so that it is lost as a whole.
 */
import { assert, CodedError } from "../base/index.ts";
import { component, mirror, stripe, STRIPE_UNIT_BLOCKS, witness } from "../cluster/index.ts";
import type { LegNode, ObjectPolicy, TreeNode } from "../cluster/index.ts";

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

interface Domain {
  readonly name: string;
  /** With the most room first. */
  readonly devices: readonly PlacementDevice[];
  readonly freeBytes: number;
}

/** `hosts` are those that can be reached. Fails with `policy-unsatisfiable`. */
export function placeVolume(
  policy: ObjectPolicy,
  hosts: readonly PlacementHost[],
  devices: readonly PlacementDevice[],
  newId: () => string,
): Placement {
  const { failuresToTolerate: failures, stripes } = policy;
  const domains = domainsOf(hosts, devices);
  const wanted = 2 * failures + 1;
  if (domains.length < wanted) throw tooFew(failures, domains);
  const placed: PlacedComponent[] = [];
  const legs: LegNode[] = [];
  // Those with the most room get data, the next ones votes.
  for (const domain of domains.slice(0, failures + 1)) {
    const nodes = Array.from({ length: stripes }, (_, column) => {
      const device = domain.devices[column % domain.devices.length];
      assert(device !== undefined, "a domain has a device");
      const componentId = newId();
      placed.push({ componentId, hostId: device.hostId, deviceId: device.deviceId });
      return component(componentId, column === 0 ? 1 : 0);
    });
    const [only] = nodes;
    assert(only !== undefined, "a leg has a component");
    legs.push(nodes.length === 1 ? only : stripe(nodes, STRIPE_UNIT_BLOCKS));
  }
  const [single] = legs;
  assert(single !== undefined, "an object has a leg");
  if (failures === 0) return { tree: single, placement: placed };
  const witnesses = domains.slice(failures + 1, wanted).map((domain) => {
    const [device] = domain.devices;
    assert(device !== undefined, "a domain has a device");
    const componentId = newId();
    placed.push({ componentId, hostId: device.hostId, deviceId: device.deviceId });
    return witness(componentId);
  });
  return { tree: mirror([...legs, ...witnesses]), placement: placed };
}

function domainsOf(
  hosts: readonly PlacementHost[],
  devices: readonly PlacementDevice[],
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
      devices: inside.toSorted(byRoom),
      freeBytes: inside.reduce((sum, { freeBytes }) => sum + freeBytes, 0),
    }))
    .toSorted((a, b) => b.freeBytes - a.freeBytes || (a.name < b.name ? -1 : 1));
}

function byRoom(a: PlacementDevice, b: PlacementDevice): number {
  return b.freeBytes - a.freeBytes || (a.deviceId < b.deviceId ? -1 : 1);
}

function tooFew(failures: number, domains: readonly Domain[]): CodedError {
  const wanted = 2 * failures + 1;
  const names = domains.map(({ name }) => name).join(", ");
  const found =
    domains.length === 0
      ? "none has a device that can be reached"
      : `there are ${domains.length}: ${names}`;
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
        : "add hosts or devices, start those that are down, or tolerate fewer failures",
    details: { wantedDomains: wanted, foundDomains: domains.length },
  });
}
