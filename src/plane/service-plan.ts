/**
 * What happens when a host or a device is taken out of service: where each of its components goes,
 * which of them have no place to go to, and what becomes of the volumes while it is away.
 */
import { leavesOf } from "../cluster/index.ts";
import type { ComponentRecord, ObjectRecord, ServiceRecord } from "../cluster/index.ts";
import type { RepairView } from "./repair-board.ts";
import { DeviceClaims, placeFor, witnessesOf } from "./repair-places.ts";
import type { Successor } from "./successor-placement.ts";

export interface LeavingComponent {
  readonly volume: string;
  readonly componentId: string;
  readonly what: "moves" | "stays" | "stuck";
  readonly isWitness: boolean;
  readonly place: Successor | undefined;
}

export interface ServicePlan {
  readonly components: readonly LeavingComponent[];
  /** Names of volumes that cannot be used while it is away, once what moves has moved. */
  readonly unusable: readonly string[];
  /** That can be used, but survive no further failure. */
  readonly atRisk: readonly string[];
}

export function planService(
  now: RepairView,
  volumes: readonly ObjectRecord[],
  service: ServiceRecord,
): ServicePlan {
  const view = now.withService(service);
  const isOn = ({ hostId, deviceId }: ComponentRecord): boolean =>
    hostId === service.id || deviceId === service.id;
  const components: LeavingComponent[] = [];
  const unusable: string[] = [];
  const atRisk: string[] = [];
  for (const record of volumes) {
    // What is only to be is made elsewhere by whoever makes it.
    const leaving = record.components
      .filter((entry) => isOn(entry) && isJoined(entry))
      .map((entry) => fate(view, record, entry));
    if (leaving.length === 0) continue;
    components.push(...leaving);
    if (leaving.every(({ what }) => what === "moves")) continue;
    if (!view.isUsableWithout(record, service.id)) unusable.push(record.name);
    else if (isAtRisk(view, record, service.id)) atRisk.push(record.name);
  }
  return { components, unusable, atRisk };
}

function isJoined({ state }: ComponentRecord): boolean {
  return state.kind !== "joining";
}

function fate(view: RepairView, record: ObjectRecord, entry: ComponentRecord): LeavingComponent {
  const { componentId } = entry;
  const isWitness = witnessesOf(record).has(componentId);
  const known = { volume: record.name, componentId, isWitness };
  if (!view.isLeaving(record, entry)) return { ...known, what: "stays", place: undefined };
  const place = placeFor(view, record, componentId, new DeviceClaims());
  return { ...known, what: place === undefined ? "stuck" : "moves", place };
}

/** Whether one more of its hosts could make it unusable. */
function isAtRisk(view: RepairView, record: ObjectRecord, gone: string): boolean {
  const leaves = new Set(leavesOf(record.tree).map(({ componentId }) => componentId));
  const others = record.components.filter(({ componentId }) => leaves.has(componentId));
  return others.some(
    ({ hostId }) => hostId !== gone && !view.isUsableWithout(record, gone, hostId),
  );
}
