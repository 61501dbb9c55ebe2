/**
 * Components leave a device that is nearly full, one at a time, for one that has room: from 80 % on
 * until 70 % are left, to devices of which at most 60 % are taken, and 80 % with what comes.
 * Between these shares nothing moves, so that nothing moves back.
 */
import { assert } from "../base/index.ts";
import type { DeviceRecord, ObjectRecord } from "../cluster/index.ts";
import type { RepairView } from "./repair-board.ts";
import { builtFor, bytesToHold, DeviceClaims } from "./repair-places.ts";
import { placeFor, witnessesOf } from "./repair-places.ts";

const CROWDED_SHARE = 0.8;
const RELIEVED_SHARE = 0.7;
const ROOMY_SHARE = 0.6;
assert(ROOMY_SHARE < RELIEVED_SHARE && RELIEVED_SHARE < CROWDED_SHARE, "nothing moves back");

interface Crowded {
  readonly record: ObjectRecord;
  readonly componentId: string;
}

function usedShare({ sizeBytes, freeBytes }: DeviceRecord): number {
  return sizeBytes === 0 ? 0 : 1 - freeBytes / sizeBytes;
}

export function isRoomy(device: DeviceRecord): boolean {
  return usedShare(device) <= ROOMY_SHARE;
}

/** Whether a device is roomy, and does not become one that components leave by so many bytes. */
export function hasPlentyAfter(bytes: number): (device: DeviceRecord) => boolean {
  return (device) =>
    isRoomy(device) &&
    usedShare({ ...device, freeBytes: device.freeBytes - bytes }) <= CROWDED_SHARE;
}

/** Whether the component is the one that leaves its device now, or is on its way already. */
export function isCrowdedOut(
  view: RepairView,
  volumes: readonly ObjectRecord[],
  record: ObjectRecord,
  componentId: string,
): boolean {
  const entry = record.components.find((one) => one.componentId === componentId);
  const device = view.devices.find((one) => one.deviceId === entry?.deviceId);
  if (entry?.state.kind !== "active" || device?.state !== "online") return false;
  const share = usedShare(device);
  if (share <= RELIEVED_SHARE) return false;
  if (builtFor(record, componentId) !== undefined) return true;
  if (share <= CROWDED_SHARE) return false;
  return nextToLeave(view, volumes, device)?.componentId === componentId;
}

/** Of each device that is nearly full the component that leaves it next. */
export function crowdedOut(view: RepairView, volumes: readonly ObjectRecord[]): readonly Crowded[] {
  return view.devices
    .filter((device) => device.state === "online" && usedShare(device) > CROWDED_SHARE)
    .flatMap((device) => nextToLeave(view, volumes, device) ?? []);
}

/** Undefined while one of them is on its way, or none may go anywhere. */
function nextToLeave(
  view: RepairView,
  volumes: readonly ObjectRecord[],
  { deviceId }: DeviceRecord,
): Crowded | undefined {
  const here = volumes
    .filter(({ owner }) => owner !== undefined && view.isReachable(owner))
    .flatMap((record) =>
      record.components
        .filter((entry) => entry.deviceId === deviceId && entry.state.kind === "active")
        .filter(({ componentId }) => !witnessesOf(record).has(componentId))
        .map(({ componentId }) => ({ record, componentId })),
    );
  const isLeaving = here.some(({ record, componentId }) => builtFor(record, componentId));
  if (isLeaving) return undefined;
  const inOrder = here.toSorted((a, b) => (a.componentId < b.componentId ? -1 : 1));
  return inOrder.find(({ record, componentId }) => {
    const isGood = hasPlentyAfter(bytesToHold(view, record, componentId));
    return placeFor(view, record, componentId, new DeviceClaims(), { isGood });
  });
}
