/**
 * The tree that a volume is to have under another policy. Legs that are striped as wanted stay, and
 * so do witnesses, as many as are wanted; only what is missing is made. New legs go where the
 * volume's contents are already, if the rule of placement lets them: little is sent there then.
 */
import { assert, CodedError, formatSize } from "../base/index.ts";
import { componentsOf, isLeaf, legsOf } from "../cluster/index.ts";
import type {
  ComponentRecord,
  LegNode,
  ObjectChange,
  ObjectPolicy,
  ObjectRecord,
  WitnessNode,
} from "../cluster/index.ts";
import { placeVolume } from "./placement.ts";
import type { Kept, PlacedComponent, PlacementDevice } from "./placement.ts";
import type { PlacementHost, PlacementRoom } from "./placement.ts";

export interface PolicyPlan extends ObjectChange {
  /** Components of the tree that have to be made. */
  readonly made: readonly PlacedComponent[];
}

export interface PolicyWorld {
  readonly hosts: readonly PlacementHost[];
  readonly devices: readonly PlacementDevice[];
  /** Whether a component can be relied on to stay where it is. */
  readonly isHere: (entry: ComponentRecord) => boolean;
  /** What a device can take beside what is on its way to it and what has to stay free, in bytes. */
  readonly spareBytes: (device: PlacementDevice) => number;
  /** What each component holds before deduplication, as far as that is known. */
  readonly stored: ReadonlyMap<string, number>;
  /** How people know a device. */
  readonly nameOf: (device: PlacementDevice) => string;
  readonly newId: () => string;
}

/** Fails with `policy-unsatisfiable` or `policy-no-room`. */
export function planPolicy(
  record: ObjectRecord,
  policy: ObjectPolicy,
  world: PolicyWorld,
): PolicyPlan {
  const { hosts, devices, newId } = world;
  const kept = keptOf(record, policy, world);
  const holders = record.components.filter((entry) => isLeaf(entry) && isGood(entry, world));
  const holding = new Set(holders.map(({ deviceId }) => deviceId));
  const isHolding = (device: PlacementDevice): boolean => holding.has(device.deviceId);
  const room = roomFor(record, policy, world, kept);
  const wishes = { kept, isHolding, ...(room === undefined ? {} : { room }) };
  const { tree, placement } = placeVolume(policy, hosts, devices, newId, wishes);
  return { policy, tree, made: placement };
}

/** Undefined if nobody knows of anything that would have to be held. */
function roomFor(
  record: ObjectRecord,
  policy: ObjectPolicy,
  { spareBytes, stored, nameOf, ...world }: PolicyWorld,
  kept: Kept,
): PlacementRoom | undefined {
  const legs = legsOf(record.tree).map((leg) => componentsOf(leg));
  const bytesOf = (leg: (typeof legs)[number]): number =>
    leg.reduce((sum, { componentId }) => sum + (stored.get(componentId) ?? 0), 0);
  const bytes = Math.max(...legs.map(bytesOf));
  if (bytes === 0) return undefined;
  const columnBytes = Math.ceil(bytes / policy.stripes);
  const whole = new Set(legs.map((leg) => onlyDeviceOf(record, leg, world)));
  const spareOf = (device: PlacementDevice): number => Math.max(0, spareBytes(device));
  return {
    // What it holds is not stored once more.
    columnsIn: (device) =>
      whole.has(device.deviceId) ? policy.stripes : Math.floor(spareOf(device) / columnBytes),
    tooFull: (devices) => {
      const [roomiest] = devices.toSorted((a, b) => spareOf(b) - spareOf(a));
      assert(roomiest !== undefined, "a domain has a device");
      const copies = policy.failuresToTolerate + 1 - kept.legs.length;
      const parts = policy.stripes === 1 ? "" : `${policy.stripes} parts of `;
      return new CodedError({
        code: "policy-no-room",
        message:
          `${record.name} needs ${copies} new ${copies === 1 ? "copy" : "copies"} with ` +
          `${parts}${formatSize(columnBytes)}, in fault domains of their own, and there is no ` +
          `room for that: of ${devices.length} devices that could take it the one with the most, ` +
          `${nameOf(roomiest)}, has ${formatSize(Math.floor(spareOf(roomiest)))} beside what is ` +
          "on its way there and what has to stay free",
        hint: "delete or discard data there, or add a device or a host",
      });
    },
  };
}

/** The device that holds all of a good copy. */
function onlyDeviceOf(
  { components }: ObjectRecord,
  leg: ReturnType<typeof componentsOf>,
  world: Pick<PolicyWorld, "isHere">,
): string | undefined {
  const ids = new Set(leg.map(({ componentId }) => componentId));
  const entries = components.filter(({ componentId }) => ids.has(componentId));
  if (!entries.every((entry) => isGood(entry, world))) return undefined;
  const [only, ...others] = new Set(entries.map(({ deviceId }) => deviceId));
  return others.length === 0 ? only : undefined;
}

function keptOf(record: ObjectRecord, policy: ObjectPolicy, world: PolicyWorld): Kept {
  const { failuresToTolerate: failures, stripes } = policy;
  const entries = new Map(record.components.map((entry) => [entry.componentId, entry]));
  const domains = new Map(world.hosts.map(({ hostId, faultDomain }) => [hostId, faultDomain]));
  const entryOf = (componentId: string): ComponentRecord => {
    const entry = entries.get(componentId);
    assert(entry !== undefined, "a leaf has a record");
    return entry;
  };
  const taken = new Set<string>();
  /** Whether they may stay: each leaf of the old tree has a domain of its own, or should have. */
  const take = (ids: readonly string[]): boolean => {
    const found = new Set(ids.map((id) => domains.get(entryOf(id).hostId) ?? ""));
    if ([...found].some((name) => name === "" || taken.has(name))) return false;
    for (const name of found) taken.add(name);
    return true;
  };
  const goodOf = (leg: LegNode): number =>
    componentsOf(leg).filter(({ componentId }) => isGood(entryOf(componentId), world)).length;
  const isOwners = (leg: LegNode): boolean =>
    componentsOf(leg).every(({ componentId }) => entryOf(componentId).hostId === record.owner);
  const legs = legsOf(record.tree)
    .filter((leg) => componentsOf(leg).length === stripes)
    .filter((leg) =>
      componentsOf(leg).every(({ componentId }) => world.isHere(entryOf(componentId))),
    )
    .toSorted((a, b) => goodOf(b) - goodOf(a) || Number(isOwners(b)) - Number(isOwners(a)))
    .slice(0, failures + 1)
    .filter((leg) => take(componentsOf(leg).map(({ componentId }) => componentId)));
  const children = record.tree.kind === "mirror" ? record.tree.children : [];
  const witnesses = children
    .filter((child): child is WitnessNode => child.kind === "witness")
    .filter(({ componentId }) => world.isHere(entryOf(componentId)))
    .slice(0, failures)
    .filter(({ componentId }) => take([componentId]));
  return { legs, witnesses, domains: taken };
}

function isGood(entry: ComponentRecord, world: Pick<PolicyWorld, "isHere">): boolean {
  return entry.state.kind === "active" && world.isHere(entry);
}
