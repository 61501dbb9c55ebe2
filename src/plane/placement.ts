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
  /** Without it what is placed holds nothing yet. */
  readonly room?: PlacementRoom;
}

/** What the components of a copy need. */
export interface PlacementRoom {
  /** For how many of them a device has room. */
  readonly columnsIn: (device: PlacementDevice) => number;
  /** What to fail with: these devices, of different domains, have not enough for what is wanted. */
  readonly tooFull: (devices: readonly PlacementDevice[]) => CodedError;
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
  const homes = homesOfLegs(domains, legsWanted, policy.stripes, wishes.room);
  const legs = [...kept.legs, ...homes.map(({ devices: home }) => legOn(home, placed, newId))];
  const [single] = legs;
  assert(single !== undefined, "an object has a leg");
  if (failures === 0) return { tree: single, placement: placed };
  const left = domains.filter((domain) => homes.every((home) => home.domain !== domain));
  const witnesses = left.slice(0, failures - kept.witnesses.length).map((domain) => {
    const [device] = domain.devices;
    assert(device !== undefined, "a domain has a device");
    const componentId = newId();
    placed.push({ componentId, hostId: device.hostId, deviceId: device.deviceId });
    return witness(componentId);
  });
  return { tree: mirror([...legs, ...kept.witnesses, ...witnesses]), placement: placed };
}

interface LegHome {
  readonly domain: Domain;
  /** Of each column. */
  readonly devices: readonly PlacementDevice[];
}

function homesOfLegs(
  domains: readonly Domain[],
  legsWanted: number,
  stripes: number,
  room: PlacementRoom | undefined,
): readonly LegHome[] {
  const homes: LegHome[] = [];
  for (const domain of domains) {
    if (homes.length >= legsWanted) break;
    const devices = homesOfColumns(domain, stripes, room);
    if (devices !== undefined) homes.push({ domain, devices });
  }
  if (homes.length >= legsWanted || room === undefined) return homes;
  throw room.tooFull(domains.flatMap(({ devices }) => devices));
}

/** Spread over the devices of the domain; undefined if there is no room for one of them. */
function homesOfColumns(
  { devices }: Domain,
  stripes: number,
  room: PlacementRoom | undefined,
): readonly PlacementDevice[] | undefined {
  const left = new Map(devices.map((device) => [device, room?.columnsIn(device) ?? stripes]));
  const homes: PlacementDevice[] = [];
  for (let column = 0; column < stripes; column++) {
    const at = column % devices.length;
    const inTurn = [...devices.slice(at), ...devices.slice(0, at)];
    const home = inTurn.find((device) => (left.get(device) ?? 0) > 0);
    if (home === undefined) return undefined;
    left.set(home, (left.get(home) ?? 0) - 1);
    homes.push(home);
  }
  return homes;
}

const NOTHING: Kept = { legs: [], witnesses: [], domains: new Set() };

function legOn(
  devices: readonly PlacementDevice[],
  placed: PlacedComponent[],
  newId: () => string,
): LegNode {
  const nodes = devices.map(({ hostId, deviceId }, column) => {
    const componentId = newId();
    placed.push({ componentId, hostId, deviceId });
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
