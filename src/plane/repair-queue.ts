/**
 * Which components are made anew now. The whole cluster makes a few at a time, and each device
 * takes part in a few, whether they are made on it or read from it: those first whose volume is
 * nearest to being lost, then those that have to leave a device, and last those that only make
 * room on one. Every host puts the same records in the same order, so that they agree on whose turn
 * it is without asking each other.
 */
import { formatSize } from "../base/index.ts";
import { isLeaf, leavesOf } from "../cluster/index.ts";
import type { ComponentRecord, DeviceRecord, ObjectRecord } from "../cluster/index.ts";
import type { Likeness } from "./content-likeness.ts";
import { byLineage } from "./lineage-order.ts";
import { crowdedOut, isBetterPlace } from "./rebalance.ts";
import type { RepairView } from "./repair-board.ts";
import { builtFor, bytesToHold, DeviceClaims } from "./repair-places.ts";
import { devicesFor, placeFor, witnessesOf } from "./repair-places.ts";
import type { PlaceWishes } from "./repair-places.ts";
import { spareBytes } from "./successor-placement.ts";
import type { Successor } from "./successor-placement.ts";

/** Why a component is made elsewhere, the most urgent reason first. */
const REASONS = ["lost", "leaves", "makes-room"] as const;

export interface WaitingRepair {
  readonly record: ObjectRecord;
  readonly componentId: string;
  readonly copiesLeft: number;
  /** "leaves", "makes-room": nothing is lost yet. */
  readonly why: (typeof REASONS)[number];
}

export type Turn =
  | { readonly kind: "now"; readonly place: Successor }
  | { readonly kind: "waits"; readonly reason: string }
  | {
      readonly kind: "nowhere";
      readonly reason: string;
      readonly hint: string;
      readonly topic: string;
    };

export interface TurnWishes {
  /** Devices that it is not to be made on. */
  readonly avoided?: ReadonlySet<string> | undefined;
  readonly likeness?: Likeness | undefined;
}

/** Whether it is the turn of a component that is given up, and where the new one goes. */
export function turnOf(
  view: RepairView,
  volumes: readonly ObjectRecord[],
  record: ObjectRecord,
  componentId: string,
  { avoided, likeness }: TurnWishes = {},
): Turn {
  const own = waitingFor(view, record, componentId);
  const wished = wishesOf(view, own);
  if (placeFor(view, record, componentId, new DeviceClaims(), wished) === undefined)
    return nowhere(view, own);
  const wishes = { ...wished, avoided, likeness };
  const anywhere = placeFor(view, record, componentId, new DeviceClaims(), wishes);
  if (anywhere === undefined) return waits("the device that could take it has run full, lately");
  // Nothing is copied for a witness.
  if (witnessesOf(record).has(componentId)) return { kind: "now", place: anywhere };
  const claims = DeviceClaims.of(view, volumes);
  let free = view.settings.rebuildsAtOnce - claims.running;
  if (free <= 0) return waits(`${claims.running} components are being made already`);
  const others = waitingRepairs(view, volumes).filter((one) => one.componentId !== componentId);
  const before = others.filter((one) => comesBefore(one, own) < 0);
  for (const one of before) {
    const theirs = wishesOf(view, one);
    const place = freePlaceFor(view, one, claims, theirs);
    if (place !== undefined && --free === 0)
      return waits(`${before.length} components are made before it`);
    // One that waits for a device keeps its place there, or those behind it would always be first.
    const kept = place ?? placeFor(view, one.record, one.componentId, new DeviceClaims(), theirs);
    if (kept !== undefined) claims.add(view, one.record, one.componentId, kept.deviceId);
  }
  const place = freePlaceFor(view, own, claims, wishes);
  return place === undefined ? busy(view, own, claims, wishes) : { kind: "now", place };
}

/** Components that are given up, are owned by somebody who may repair them, and have a place. */
export function waitingRepairs(
  view: RepairView,
  volumes: readonly ObjectRecord[],
): readonly WaitingRepair[] {
  const waiting: WaitingRepair[] = [];
  for (const record of volumes) {
    if (record.owner === undefined || !view.isReachable(record.owner)) continue;
    if (view.copiesOf(record) === 0) continue;
    const witnesses = witnessesOf(record);
    for (const entry of record.components) {
      const { componentId, state } = entry;
      if (!isLeaf(entry) || witnesses.has(componentId)) continue;
      const isGone = state.kind !== "active" && view.isGone(entry);
      if (!isGone && !view.isLeaving(record, entry)) continue;
      if (builtFor(record, componentId) !== undefined) continue;
      if (placeFor(view, record, componentId, new DeviceClaims()) === undefined) continue;
      waiting.push(waitingFor(view, record, componentId));
    }
  }
  const known = new Set(waiting.map(({ componentId }) => componentId));
  for (const { record, componentId } of crowdedOut(view, volumes))
    if (!known.has(componentId)) waiting.push(waitingFor(view, record, componentId));
  return waiting.toSorted(comesBefore);
}

export function waitingFor(
  view: RepairView,
  record: ObjectRecord,
  componentId: string,
): WaitingRepair {
  const entry = record.components.find((one) => one.componentId === componentId);
  return {
    record,
    componentId,
    copiesLeft: view.copiesOf(record),
    why: whyOf(view, record, entry),
  };
}

function whyOf(
  view: RepairView,
  record: ObjectRecord,
  entry: ComponentRecord | undefined,
): WaitingRepair["why"] {
  if (entry === undefined) return "lost";
  const isGone = view.isGone(entry);
  if (isGone && entry.state.kind !== "active") return "lost";
  if (view.isLeaving(record, entry)) return "leaves";
  // A witness holds nothing that would make room.
  const isWitness = witnessesOf(record).has(entry.componentId);
  return entry.state.kind === "active" && !isGone && !isWitness ? "makes-room" : "lost";
}

/** Below 0 if the first one is made first. */
export function comesBefore(a: WaitingRepair, b: WaitingRepair): number {
  return (
    REASONS.indexOf(a.why) - REASONS.indexOf(b.why) ||
    a.copiesLeft - b.copiesLeft ||
    byLineage(a.record, b.record) ||
    (a.componentId < b.componentId ? -1 : 1)
  );
}

/** What only makes room goes where there is more of it. */
function wishesOf(view: RepairView, { record, componentId, why }: WaitingRepair): PlaceWishes {
  if (why !== "makes-room") return {};
  return { isGood: isBetterPlace(view, record, componentId) };
}

/** Where it can be made now: with room, on a device and from devices that are not busy. */
function freePlaceFor(
  view: RepairView,
  { record, componentId }: WaitingRepair,
  claims: DeviceClaims,
  wishes: PlaceWishes,
): Successor | undefined {
  const { rebuildsPerDevice } = view.settings;
  if (claims.partsOfSources(view, record) >= rebuildsPerDevice) return undefined;
  const { isGood = (): boolean => true } = wishes;
  const isFree = (device: DeviceRecord): boolean =>
    isGood(device) && claims.partsOf(device.deviceId) < rebuildsPerDevice;
  return placeFor(view, record, componentId, claims, { ...wishes, isGood: isFree });
}

function busy(
  view: RepairView,
  { record, componentId }: WaitingRepair,
  claims: DeviceClaims,
  wishes: PlaceWishes,
): Turn {
  if (claims.partsOfSources(view, record) >= view.settings.rebuildsPerDevice)
    return waits("a device that it is read from is busy with others");
  if (placeFor(view, record, componentId, claims, wishes) === undefined)
    return waits("components that are made before it take the room that it needs");
  return waits("every device that could take it is busy with others");
}

function waits(reason: string): Turn {
  return { kind: "waits", reason };
}

function nowhere(view: RepairView, own: WaitingRepair): Turn {
  const { record, componentId, why } = own;
  // It is good where it is.
  if (why === "makes-room") return waits("no other device has plenty of room");
  const away = view.hosts.filter(({ hostId }) => !view.isReachable(hostId));
  const names = away.map(({ name }) => name).join(", ");
  const start = away.length === 0 ? "" : `start ${names} again, `;
  const [roomiest, ...others] = devicesFor(view, record, componentId, new DeviceClaims()).toSorted(
    (a, b) => spareBytes(b) - spareBytes(a),
  );
  if (roomiest !== undefined) {
    const { path, hostId } = roomiest;
    const host = view.hosts.find((one) => one.hostId === hostId);
    const bytes = bytesToHold(view, record, componentId);
    return {
      kind: "nowhere",
      reason:
        `no device may take component ${componentId} of ${record.name}: it holds ` +
        `${formatSize(bytes)}, and of ${others.length + 1} devices outside the fault domains of ` +
        `the others the one with the most room, ${path} on ${host?.name ?? hostId}, has ` +
        `${formatSize(Math.max(0, Math.floor(spareBytes(roomiest))))} beside what has to stay free`,
      hint: `${start}delete or discard data there, or add a device or a host`,
      topic: "room",
    };
  }
  const domains = new Set(view.hosts.map(({ faultDomain }) => faultDomain));
  const wanted = leavesOf(record.tree).length;
  const usable = view.devices.filter(
    (device) => device.state === "online" && view.isInService(device),
  );
  const reason =
    `no device may take component ${componentId} of ${record.name}: its ${wanted} components ` +
    `need fault domains of their own, and of ${domains.size} ` +
    `with ${usable.length} usable devices none is left`;
  const hint = `${start}add a host, or add a device to one that holds nothing of ${record.name}`;
  return { kind: "nowhere", reason, hint, topic: reason };
}
