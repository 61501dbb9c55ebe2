/**
 * Components leave a device that is nearly full, one at a time, for one that has room: from 80 % on
 * until 70 % are left, to devices of which at most 60 % are taken, and 80 % with what comes. They
 * also leave a device of which much more is taken than of another one, which is how a host that has
 * joined gets its share: never so much that the other one has more afterwards. Between these shares
 * nothing moves, so that nothing moves back.
 */
import { assert } from "../base/index.ts";
import type { ComponentRecord, DeviceRecord, ObjectRecord } from "../cluster/index.ts";
import type { RepairView } from "./repair-board.ts";
import { builtFor, bytesToHold, DeviceClaims } from "./repair-places.ts";
import { placeFor, witnessesOf } from "./repair-places.ts";

const CROWDED_SHARE = 0.8;
const RELIEVED_SHARE = 0.7;
const ROOMY_SHARE = 0.6;
/** By so much of their sizes devices may differ; what was begun goes on until half of that. */
const UNEVEN_SHARE = 0.3;
const EVENED_SHARE = UNEVEN_SHARE / 2;
assert(ROOMY_SHARE < RELIEVED_SHARE && RELIEVED_SHARE < CROWDED_SHARE, "nothing moves back");

interface Crowded {
  readonly record: ObjectRecord;
  readonly componentId: string;
}

function usedShare({ sizeBytes, freeBytes }: DeviceRecord): number {
  return sizeBytes === 0 ? 0 : 1 - freeBytes / sizeBytes;
}

function shareWith(device: DeviceRecord, bytes: number): number {
  return usedShare({ ...device, freeBytes: device.freeBytes - bytes });
}

/** Whether one of its components may have to leave the device for the sake of room. */
export function isCrowded(view: RepairView, device: DeviceRecord): boolean {
  if (device.state !== "online") return false;
  return usedShare(device) > RELIEVED_SHARE || isUneven(view, device, EVENED_SHARE);
}

/** Whether so much more of the device is taken than of one that takes components. */
function isUneven(view: RepairView, device: DeviceRecord, difference: number): boolean {
  return view.devices.some(
    (other) =>
      other.state === "online" &&
      view.isInService(other) &&
      view.isReachable(other.hostId) &&
      usedShare(device) - usedShare(other) >= difference,
  );
}

/** Where a component that leaves its device for the sake of room may go. */
export function isBetterPlace(
  view: RepairView,
  record: ObjectRecord,
  componentId: string,
): (device: DeviceRecord) => boolean {
  const bytes = bytesToHold(view, record, componentId);
  const from = deviceOf(view, entryOf(record, componentId));
  if (from === undefined || usedShare(from) > CROWDED_SHARE)
    return (to) => usedShare(to) <= ROOMY_SHARE && shareWith(to, bytes) <= CROWDED_SHARE;
  return (to) =>
    bytes > 0 &&
    usedShare(from) - usedShare(to) >= EVENED_SHARE &&
    shareWith(to, bytes) <= shareWith(from, -bytes);
}

/** Whether the component is the one that leaves its device now, or is on its way already. */
export function isCrowdedOut(
  view: RepairView,
  volumes: readonly ObjectRecord[],
  record: ObjectRecord,
  componentId: string,
): boolean {
  const entry = entryOf(record, componentId);
  const device = deviceOf(view, entry);
  if (entry?.state.kind !== "active" || device === undefined || !isCrowded(view, device))
    return false;
  const built = builtFor(record, componentId);
  if (built !== undefined) return usedShare(device) > RELIEVED_SHARE || evens(view, device, built);
  return nextToLeave(view, volumes, device)?.componentId === componentId;
}

/** Of each device from which components have to leave the one that does so next. */
export function crowdedOut(view: RepairView, volumes: readonly ObjectRecord[]): readonly Crowded[] {
  return view.devices.flatMap((device) => nextToLeave(view, volumes, device) ?? []);
}

/** Whether the devices differ as well without what has come to the other one so far. */
function evens(view: RepairView, from: DeviceRecord, built: ComponentRecord): boolean {
  const to = deviceOf(view, built);
  if (to === undefined) return false;
  const before = shareWith(to, -(view.stored.get(built.componentId) ?? 0));
  return usedShare(from) - before >= EVENED_SHARE;
}

/** Undefined while one of them is on its way, or none may go anywhere. */
function nextToLeave(
  view: RepairView,
  volumes: readonly ObjectRecord[],
  device: DeviceRecord,
): Crowded | undefined {
  const isFull = usedShare(device) > CROWDED_SHARE;
  if (device.state !== "online" || !(isFull || isUneven(view, device, UNEVEN_SHARE)))
    return undefined;
  const here = volumes
    .filter(({ owner }) => owner !== undefined && view.isReachable(owner))
    .flatMap((record) =>
      record.components
        .filter((entry) => entry.deviceId === device.deviceId && entry.state.kind === "active")
        .filter(({ componentId }) => !witnessesOf(record).has(componentId))
        .map(({ componentId }) => ({ record, componentId })),
    );
  const isLeaving = here.some(({ record, componentId }) => builtFor(record, componentId));
  if (isLeaving) return undefined;
  const inOrder = here.toSorted((a, b) => (a.componentId < b.componentId ? -1 : 1));
  return inOrder.find(({ record, componentId }) => {
    const isGood = isBetterPlace(view, record, componentId);
    return placeFor(view, record, componentId, new DeviceClaims(), { isGood });
  });
}

function entryOf(record: ObjectRecord, componentId: string): ComponentRecord | undefined {
  return record.components.find((one) => one.componentId === componentId);
}

function deviceOf(
  view: RepairView,
  entry: Pick<ComponentRecord, "deviceId"> | undefined,
): DeviceRecord | undefined {
  return view.devices.find(({ deviceId }) => deviceId === entry?.deviceId);
}
