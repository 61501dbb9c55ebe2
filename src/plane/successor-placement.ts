/**
 * Where a component goes that is made in place of another one. The rule of placement holds on: each
 * leg and each witness has fault domains of its own. A striped leg stays together where it can.
 */
import { legsOf, componentsOf } from "../cluster/index.ts";
import type { ComponentRecord, DeviceRecord, HostRecord, ObjectRecord } from "../cluster/index.ts";
import type { Likeness } from "./content-likeness.ts";

/** This share of a device stays free: it takes nothing that could go elsewhere. */
const FREE_SHARE_MIN = 0.05;
/** From here on components leave a device that is nearly full. */
const ROOMY_SHARE_MIN = 0.2;

export interface Successor {
  readonly hostId: string;
  readonly deviceId: string;
}

export interface SuccessorWorld {
  readonly hosts: readonly HostRecord[];
  readonly devices: readonly DeviceRecord[];
  /** Which hosts can be spoken to. */
  readonly isReachable: (hostId: string) => boolean;
  readonly likeness?: Likeness | undefined;
}

/**
 * Devices that may take it by the rule of placement, the best one first, whatever room they have.
 */
export function successorDevices(
  record: ObjectRecord,
  componentId: string,
  { hosts, devices, isReachable, likeness = new Map() }: SuccessorWorld,
): readonly DeviceRecord[] {
  const domains = new Map(hosts.map(({ hostId, faultDomain }) => [hostId, faultDomain]));
  const domainOf = (hostId: string): string => domains.get(hostId) ?? hostId;
  const mates = matesOf(record, componentId);
  const others = record.components.filter((entry) => leafOf(entry) !== componentId);
  const taken = new Set<string>();
  const home = new Set<string>();
  const used = new Set<string>();
  for (const entry of others) {
    const isMate = mates.has(leafOf(entry));
    (isMate ? home : taken).add(domainOf(entry.hostId));
    if (isMate) used.add(entry.deviceId);
  }
  return devices
    .filter(({ state, hostId }) => state === "online" && domains.has(hostId) && isReachable(hostId))
    .filter(({ hostId }) => !taken.has(domainOf(hostId)))
    .toSorted(
      (a, b) =>
        rank(home.has(domainOf(b.hostId))) - rank(home.has(domainOf(a.hostId))) ||
        rank(used.has(a.deviceId)) - rank(used.has(b.deviceId)) ||
        likenessOf(b, likeness) - likenessOf(a, likeness) ||
        b.freeBytes - a.freeBytes ||
        (a.deviceId < b.deviceId ? -1 : 1),
    );
}

/** What a device can take and keep free what has to stay so; below 0 if it has less than that. */
export function spareBytes({ freeBytes, sizeBytes }: Room): number {
  return freeBytes - sizeBytes * FREE_SHARE_MIN;
}

type Room = Pick<DeviceRecord, "freeBytes" | "sizeBytes">;

/** What is to leave its device again, since that is too full, goes by room alone. */
function likenessOf(device: DeviceRecord, likeness: Likeness): number {
  return device.freeBytes > device.sizeBytes * ROOMY_SHARE_MIN
    ? (likeness.get(device.deviceId) ?? 0)
    : 0;
}

/** The leaf that an entry is, or is being built to become. */
function leafOf({ componentId, state }: ComponentRecord): string {
  return state.kind === "building" ? state.replaces : componentId;
}

/** The leaves of the same leg. */
function matesOf({ tree }: ObjectRecord, componentId: string): ReadonlySet<string> {
  for (const leg of legsOf(tree)) {
    const ids = componentsOf(leg).map((node) => node.componentId);
    if (ids.includes(componentId)) return new Set(ids);
  }
  return new Set();
}

function rank(isSo: boolean): number {
  return isSo ? 1 : 0;
}
