/**
 * Where components may be made anew: by the rule of placement, with room for what they have to
 * hold, beside what others that are made or come first take of the devices.
 */
import { componentsOf, leavesOf, legsOf } from "../cluster/index.ts";
import type { ComponentRecord, DeviceRecord, ObjectRecord, TreeNode } from "../cluster/index.ts";
import type { Likeness } from "./content-likeness.ts";
import type { RepairView } from "./repair-board.ts";
import { spareBytes, successorDevices } from "./successor-placement.ts";
import type { Successor } from "./successor-placement.ts";

export interface PlaceWishes {
  /** Of a device as it is once everything is there that is on its way to it. */
  readonly isGood?: (device: DeviceRecord) => boolean;
  readonly avoided?: ReadonlySet<string> | undefined;
  readonly likeness?: Likeness | undefined;
}

/** Whether a device may take what holds so many bytes, and keeps what has to stay free. */
function hasRoom(device: DeviceRecord, bytes: number): boolean {
  const spare = spareBytes(device);
  return spare > 0 && spare >= bytes;
}

/** Undefined if no device may take it. */
export function placeFor(
  view: RepairView,
  record: ObjectRecord,
  componentId: string,
  claims: DeviceClaims,
  wishes: PlaceWishes = {},
): Successor | undefined {
  const bytes = bytesToHold(view, record, componentId);
  const best = devicesFor(view, record, componentId, claims, wishes).find((device) =>
    hasRoom(device, bytes),
  );
  return best && { hostId: best.hostId, deviceId: best.deviceId };
}

/** As `successorDevices`, each with the room that the claims leave it. */
export function devicesFor(
  view: RepairView,
  record: ObjectRecord,
  componentId: string,
  claims: DeviceClaims,
  { isGood = (): boolean => true, avoided, likeness }: PlaceWishes = {},
): readonly DeviceRecord[] {
  const devices = view.devices
    .filter((device) => view.isInService(device) && avoided?.has(device.deviceId) !== true)
    .map((device) => ({ ...device, freeBytes: claims.freeBytes(device) }))
    .filter(isGood);
  const isReachable = (hostId: string): boolean => view.isReachable(hostId);
  const { hosts } = view;
  return successorDevices(record, componentId, { hosts, devices, isReachable, likeness });
}

/**
 * What a component has to hold, in bytes before deduplication, as if nothing of it were there
 * already: what it has, or what is in the same column of another leg if that is more. 0 for a
 * witness, and where nobody in reach tells, since there is nobody then to copy it from either.
 */
export function bytesToHold(
  { stored }: Pick<RepairView, "stored">,
  { tree }: { readonly tree: TreeNode },
  componentId: string,
): number {
  const legs = legsOf(tree).map((leg) => componentsOf(leg).map((node) => node.componentId));
  const own = legs.find((ids) => ids.includes(componentId));
  if (own === undefined) return 0;
  const column = own.indexOf(componentId);
  const alike = legs.filter(({ length }) => length === own.length);
  return Math.max(...alike.map((ids) => stored.get(ids[column]!) ?? 0));
}

/** The devices that it is read from: those of one whole leg, or all that hold some of it. */
function sourcesOf(view: RepairView, record: ObjectRecord): readonly string[] {
  const good = new Map(
    record.components
      .filter((entry) => entry.state.kind === "active" && !view.isGone(entry))
      .filter(({ hostId }) => view.isReachable(hostId))
      .map(({ componentId, deviceId }) => [componentId, deviceId]),
  );
  const legs = legsOf(record.tree).map((leg) =>
    componentsOf(leg).map((node) => good.get(node.componentId)),
  );
  const whole = legs.find((devices) => devices.every((deviceId) => deviceId !== undefined));
  return (whole ?? legs.flat()).filter((deviceId) => deviceId !== undefined);
}

/**
 * What is made, or comes first, takes of devices: room, and the time to write it and to read it.
 */
export class DeviceClaims {
  readonly #bytes = new Map<string, number>();
  readonly #parts = new Map<string, number>();
  #running = 0;

  /** Of all that is being made. */
  static of(view: RepairView, volumes: readonly ObjectRecord[]): DeviceClaims {
    const claims = new DeviceClaims();
    for (const record of volumes)
      for (const entry of record.components) claims.#addBegun(view, record, entry);
    return claims;
  }

  /** How many components are being made. */
  get running(): number {
    return this.#running;
  }

  freeBytes({ deviceId, freeBytes }: DeviceRecord): number {
    return freeBytes - (this.#bytes.get(deviceId) ?? 0);
  }

  /** In how many components a device takes part: they are made on it or read from it. */
  partsOf(deviceId: string): number {
    return this.#parts.get(deviceId) ?? 0;
  }

  /** The same of the busiest of the devices that the object's contents are read from. */
  partsOfSources(view: RepairView, record: ObjectRecord): number {
    return Math.max(0, ...sourcesOf(view, record).map((deviceId) => this.partsOf(deviceId)));
  }

  /** It will be made there. */
  add(view: RepairView, record: ObjectRecord, componentId: string, deviceId: string): void {
    this.#addBytes(deviceId, bytesToHold(view, record, componentId));
    this.#addParts(view, record, deviceId);
  }

  #addBegun(view: RepairView, record: ObjectRecord, entry: ComponentRecord): void {
    const { componentId, deviceId, hostId, state } = entry;
    if (state.kind !== "building" && state.kind !== "joining") return;
    const bytes =
      state.kind === "building"
        ? bytesToHold(view, record, state.replaces)
        : bytesToHold(view, record.change ?? record, componentId);
    this.#addBytes(deviceId, Math.max(0, bytes - (view.stored.get(componentId) ?? 0)));
    const { owner } = record;
    if (state.kind === "joining" || owner === undefined || !view.isReachable(owner)) return;
    if (!view.isReachable(hostId)) return;
    this.#running++;
    this.#addParts(view, record, deviceId);
  }

  #addBytes(deviceId: string, bytes: number): void {
    this.#bytes.set(deviceId, (this.#bytes.get(deviceId) ?? 0) + bytes);
  }

  #addParts(view: RepairView, record: ObjectRecord, deviceId: string): void {
    for (const id of new Set([deviceId, ...sourcesOf(view, record)]))
      this.#parts.set(id, this.partsOf(id) + 1);
  }
}

export function builtFor(record: ObjectRecord, componentId: string): ComponentRecord | undefined {
  return record.components.find(
    ({ state }) => state.kind === "building" && state.replaces === componentId,
  );
}

export function witnessesOf({ tree }: ObjectRecord): ReadonlySet<string> {
  const witnesses = leavesOf(tree).filter(({ kind }) => kind === "witness");
  return new Set(witnesses.map(({ componentId }) => componentId));
}
