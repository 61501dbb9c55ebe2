/**
 * Which components are made anew now. The whole cluster makes a few at a time, and each device
 * takes part in a few: those first whose volume is nearest to being lost, and those that only have
 * to leave a device last. Every host puts the same records in the same order, so that they agree on
 * whose turn it is without asking each other.
 */
import { isLeaf, leavesOf } from "../cluster/index.ts";
import type { ComponentRecord, DeviceRecord, ObjectRecord } from "../cluster/index.ts";
import type { Likeness } from "./content-likeness.ts";
import { placeSuccessor } from "./successor-placement.ts";
import type { Successor } from "./successor-placement.ts";
import type { RepairView } from "./repair-board.ts";

export interface WaitingRepair {
  readonly objectId: string;
  readonly componentId: string;
  readonly name: string;
  readonly copiesLeft: number;
  /** Nothing is lost yet: it only has to leave. */
  readonly isMove: boolean;
}

export type Turn =
  | { readonly kind: "now"; readonly place: Successor }
  | { readonly kind: "waits"; readonly reason: string }
  | { readonly kind: "nowhere"; readonly reason: string; readonly hint: string };

/** Whether it is the turn of a component that is given up, and where the new one goes. */
export function turnOf(
  view: RepairView,
  volumes: readonly ObjectRecord[],
  record: ObjectRecord,
  componentId: string,
  wishes: {
    readonly isGood?: (device: DeviceRecord) => boolean;
    readonly likeness?: Likeness;
  } = {},
): Turn {
  const { isGood = (): boolean => true, likeness } = wishes;
  const isWitness = witnessesOf(record).has(componentId);
  const anywhere = placeFor(view, record, componentId, isGood, likeness);
  if (anywhere === undefined) return nowhere(view, record, componentId);
  // Nothing is copied for a witness.
  if (isWitness) return { kind: "now", place: anywhere };
  const running = runningOn(view, volumes);
  const { rebuildsAtOnce, rebuildsPerDevice } = view.settings;
  const free = rebuildsAtOnce - running.length;
  if (free <= 0) return waits(`${running.length} components are being made already`);
  const queue = waitingRepairs(view, volumes);
  const at = queue.findIndex((one) => one.componentId === componentId);
  if (at >= free) return waits(`${at} components are made before it`);
  const isFree = (device: DeviceRecord): boolean =>
    isGood(device) &&
    running.filter((one) => one.deviceId === device.deviceId).length < rebuildsPerDevice;
  const place = placeFor(view, record, componentId, isFree, likeness);
  if (place === undefined) return waits("every device that could take it is busy with others");
  return { kind: "now", place };
}

/** Components that are given up, are owned by somebody who may repair them, and have a place. */
export function waitingRepairs(
  view: RepairView,
  volumes: readonly ObjectRecord[],
): readonly WaitingRepair[] {
  const waiting: WaitingRepair[] = [];
  for (const record of volumes) {
    if (record.owner === undefined || !view.isReachable(record.owner)) continue;
    const copiesLeft = view.copiesOf(record);
    if (copiesLeft === 0) continue;
    const witnesses = witnessesOf(record);
    for (const entry of record.components) {
      const { componentId, state } = entry;
      if (!isLeaf(entry) || witnesses.has(componentId)) continue;
      const isGone = state.kind !== "active" && view.isGone(entry);
      if (!isGone && !view.isLeaving(record, entry)) continue;
      if (builtFor(record, componentId) !== undefined) continue;
      if (placeFor(view, record, componentId, () => true) === undefined) continue;
      const { objectId, name } = record;
      waiting.push({ objectId, componentId, name, copiesLeft, isMove: !isGone });
    }
  }
  return waiting.toSorted(
    (a, b) =>
      Number(a.isMove) - Number(b.isMove) ||
      a.copiesLeft - b.copiesLeft ||
      (a.componentId < b.componentId ? -1 : 1),
  );
}

export function builtFor(record: ObjectRecord, componentId: string): ComponentRecord | undefined {
  return record.components.find(
    ({ state }) => state.kind === "building" && state.replaces === componentId,
  );
}

function runningOn(view: RepairView, volumes: readonly ObjectRecord[]): ComponentRecord[] {
  return volumes
    .filter(({ owner }) => owner !== undefined && view.isReachable(owner))
    .flatMap(({ components }) => components)
    .filter((entry) => entry.state.kind === "building" && view.isReachable(entry.hostId));
}

export function placeFor(
  view: RepairView,
  record: ObjectRecord,
  componentId: string,
  isFree: (device: DeviceRecord) => boolean,
  likeness?: Likeness,
): Successor | undefined {
  const devices = view.devices.filter((device) => view.isInService(device) && isFree(device));
  const isReachable = (hostId: string): boolean => view.isReachable(hostId);
  return placeSuccessor(record, componentId, view.hosts, devices, isReachable, likeness);
}

export function witnessesOf({ tree }: ObjectRecord): ReadonlySet<string> {
  const witnesses = leavesOf(tree).filter(({ kind }) => kind === "witness");
  return new Set(witnesses.map(({ componentId }) => componentId));
}

function waits(reason: string): Turn {
  return { kind: "waits", reason };
}

function nowhere(view: RepairView, record: ObjectRecord, componentId: string): Turn {
  const domains = new Set(view.hosts.map(({ faultDomain }) => faultDomain));
  const wanted = leavesOf(record.tree).length;
  const away = view.hosts.filter(({ hostId }) => !view.isReachable(hostId));
  const full = view.devices.filter(
    (device) => device.state === "online" && view.isInService(device),
  );
  const names = away.map(({ name }) => name).join(", ");
  const start = away.length === 0 ? "" : `start ${names} again, `;
  return {
    kind: "nowhere",
    reason:
      `no device may take component ${componentId} of ${record.name}: its ${wanted} components ` +
      `need fault domains of their own, and of ${domains.size} ` +
      `with ${full.length} usable devices none is left that has room`,
    hint: `${start}add a host, or add a device to one that holds nothing of ${record.name}`,
  };
}
