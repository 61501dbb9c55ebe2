/**
 * The tree that a volume is to have under another policy. Legs that are striped as wanted stay, and
 * so do witnesses, as many as are wanted; only what is missing is made. New legs go where the
 * volume's contents are already, if the rule of placement lets them: little is sent there then.
 */
import { assert } from "../base/index.ts";
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
import type { Kept, PlacedComponent, PlacementDevice, PlacementHost } from "./placement.ts";

export interface PolicyPlan extends ObjectChange {
  /** Components of the tree that have to be made. */
  readonly made: readonly PlacedComponent[];
}

export interface PolicyWorld {
  readonly hosts: readonly PlacementHost[];
  readonly devices: readonly PlacementDevice[];
  /** Whether a component can be relied on to stay where it is. */
  readonly isHere: (entry: ComponentRecord) => boolean;
  readonly newId: () => string;
}

/** Fails with `policy-unsatisfiable`. */
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
  const { tree, placement } = placeVolume(policy, hosts, devices, newId, { kept, isHolding });
  return { policy, tree, made: placement };
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

function isGood(entry: ComponentRecord, world: PolicyWorld): boolean {
  return entry.state.kind === "active" && world.isHere(entry);
}
