/**
 * What happens when a host or a device is taken out of service: where each of its components goes,
 * which of them have no place to go to, and what becomes of the volumes while it is away.
 */
import { leavesOf } from "../cluster/index.ts";
import type { ComponentRecord, ObjectRecord, ServiceRecord } from "../cluster/index.ts";
import type { RepairView } from "./repair-board.ts";
import { builtFor, DeviceClaims, devicesFor } from "./repair-places.ts";
import { placeFor, witnessesOf } from "./repair-places.ts";
import { comesBefore, waitingFor } from "./repair-queue.ts";
import { spareBytes } from "./successor-placement.ts";
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

/**
 * Each component that moves takes its room from what is left for the next ones, in the order in
 * which they are going to be made. Nobody is asked which device has contents already, so that one
 * of those may be chosen instead.
 */
export function planService(
  now: RepairView,
  volumes: readonly ObjectRecord[],
  service: ServiceRecord,
): ServicePlan {
  const view = now.withService(service);
  const places = placesOf(view, volumes, service);
  const components: LeavingComponent[] = [];
  const unusable: string[] = [];
  const atRisk: string[] = [];
  for (const record of volumes) {
    const leaving = onIt(record, service).map((entry) => fate(view, record, entry, places));
    if (leaving.length === 0) continue;
    components.push(...leaving);
    if (leaving.every(({ what }) => what === "moves")) continue;
    if (!view.isUsableWithout(record, service.id)) unusable.push(record.name);
    else if (isAtRisk(view, record, service.id)) atRisk.push(record.name);
  }
  return { components, unusable, atRisk };
}

/** What is only to be is made elsewhere by whoever makes it. */
function onIt({ components }: ObjectRecord, service: ServiceRecord): readonly ComponentRecord[] {
  return components.filter((entry) => isOn(entry, service) && entry.state.kind !== "joining");
}

function isOn({ hostId, deviceId }: ComponentRecord, { id }: ServiceRecord): boolean {
  return hostId === id || deviceId === id;
}

/** By component, of those that have to leave and have a place to go to. */
function placesOf(
  view: RepairView,
  volumes: readonly ObjectRecord[],
  service: ServiceRecord,
): ReadonlyMap<string, Successor> {
  const claims = DeviceClaims.of(view, volumes);
  const places = new Map<string, Successor>();
  const moved = new Map<string, ObjectRecord>();
  const leaving = volumes
    .flatMap((record) => onIt(record, service).map((entry) => ({ record, entry })))
    .filter(({ record, entry }) => view.isLeaving(record, entry))
    .map(({ record, entry }) => waitingFor(view, record, entry.componentId));
  for (const { record, componentId } of leaving.toSorted(comesBefore)) {
    const before = moved.get(record.objectId) ?? record;
    const begun = builtFor(record, componentId);
    if (begun !== undefined && view.isReachable(begun.hostId) && !isOn(begun, service)) {
      places.set(componentId, { hostId: begun.hostId, deviceId: begun.deviceId });
      continue;
    }
    const place = plannedPlace(view, before, componentId, claims);
    if (place === undefined) continue;
    places.set(componentId, place);
    claims.add(view, record, componentId, place.deviceId);
    // The next one of its leg goes where this one is then.
    const state = { kind: "building", replaces: componentId } as const;
    const built: ComponentRecord = { ...place, componentId: `${componentId}-moved`, state };
    moved.set(record.objectId, { ...before, components: [...before.components, built] });
  }
  return places;
}

/**
 * What does not fit is planned all the same, where most room is: that tells how much is missing.
 */
function plannedPlace(
  view: RepairView,
  record: ObjectRecord,
  componentId: string,
  claims: DeviceClaims,
): Successor | undefined {
  const place = placeFor(view, record, componentId, claims);
  if (place !== undefined || witnessesOf(record).has(componentId)) return place;
  const [roomiest] = devicesFor(view, record, componentId, claims).toSorted(
    (a, b) => spareBytes(b) - spareBytes(a),
  );
  return roomiest && { hostId: roomiest.hostId, deviceId: roomiest.deviceId };
}

function fate(
  view: RepairView,
  record: ObjectRecord,
  entry: ComponentRecord,
  places: ReadonlyMap<string, Successor>,
): LeavingComponent {
  const { componentId } = entry;
  const isWitness = witnessesOf(record).has(componentId);
  const known = { volume: record.name, componentId, isWitness };
  if (!view.isLeaving(record, entry)) return { ...known, what: "stays", place: undefined };
  const place = places.get(componentId);
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
