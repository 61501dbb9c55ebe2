/**
 * What the cluster knows of this host's devices. Before anything of them is served, each is held
 * against its record: a device whose life had come further when it was last heard of is an old copy
 * of itself, and what it holds counts for nothing until it has caught up from the beginning. From
 * then on the records follow the devices, so that a copy made now is known as old soon.
 */
import { CodedError, marks } from "../base/index.ts";
import { listDevices, putDevice } from "../cluster/index.ts";
import type { DeviceRecord, StoredDevice } from "../cluster/index.ts";
import type { Directory } from "../ports/index.ts";
import type { DeviceAge } from "../store/index.ts";

const ATTEMPTS_MAX = 8;
/** What has not changed is told again this seldom, which finds out whether somebody else tells. */
const SAME_MAX = 12;

export interface LocalDevice extends DeviceAge {
  readonly deviceId: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  /** It takes no writes any more. */
  readonly hasFailed?: boolean;
}

export interface DeviceEvent {
  readonly kind: "device-outdated" | "device-lost" | "device-gone";
  readonly level: "warning" | "error";
  readonly message: string;
  readonly details: Readonly<Record<string, string | number>>;
}

export interface DeviceRegisterWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly hostName: string;
  readonly devices: () => readonly LocalDevice[];
  /** What is on a device that is an old copy, and that nobody names any more. */
  readonly removeForgotten: (deviceId: string) => Promise<void>;
  /** Durably: none of its components counts; its incarnation is above this one. */
  readonly distrust: (deviceId: string, incarnation: number) => Promise<void>;
  readonly addEvent: (event: DeviceEvent) => void;
}

export class DeviceRegister {
  readonly #world: DeviceRegisterWorld;
  /** Of each record as it was last written here. */
  readonly #revisions = new Map<string, number>();
  /** What each record said then, and how often it would have said the same since. */
  readonly #told = new Map<string, { readonly text: string; sameCount: number }>();

  constructor(world: DeviceRegisterWorld) {
    this.#world = world;
  }

  /** To be called once, before anything of the devices is served. Fails as the directory does. */
  async admit(): Promise<void> {
    const { directory, clusterId, hostId, devices } = this.#world;
    const stored = await listDevices(directory, clusterId);
    for (const { deviceId } of devices()) {
      const known = stored.find(({ record }) => record.deviceId === deviceId);
      if (known !== undefined) await this.#check(known.record);
      await this.#register(deviceId, known?.revision ?? 0);
    }
    const mine = stored.filter(({ record }) => record.hostId === hostId);
    for (const one of mine)
      if (this.#find(one.record.deviceId) === undefined) await this.#miss(one);
  }

  /** Tells of the devices' room, and of how far they have come. */
  async refresh(): Promise<void> {
    for (const device of this.#world.devices()) {
      const { deviceId } = device;
      const told = this.#told.get(deviceId);
      const isSame = told?.text === JSON.stringify(this.#recordOf(device));
      if (isSame && ++told.sameCount < SAME_MAX) continue;
      await this.#register(deviceId, this.#revisions.get(deviceId) ?? 0);
    }
  }

  #recordOf({ hasFailed, ...known }: LocalDevice): DeviceRecord {
    const state = hasFailed === true ? "failed" : "online";
    return { ...known, hostId: this.#world.hostId, state };
  }

  #find(deviceId: string): LocalDevice | undefined {
    return this.#world.devices().find((device) => device.deviceId === deviceId);
  }

  async #check(record: DeviceRecord): Promise<void> {
    const { deviceId, path, incarnation } = record;
    const device = this.#find(deviceId);
    if (device === undefined || !isBehind(device, record)) return;
    // Before: afterwards nothing tells any more that it is an old copy.
    await this.#world.removeForgotten(deviceId);
    await this.#world.distrust(deviceId, incarnation);
    this.#event("device-outdated", "error", record, [
      `device ${deviceId} at ${path} is an old copy of itself:`,
      `its life ${device.incarnation} has come to frame ${device.frame},`,
      `it had come to frame ${record.frame} in life ${incarnation};`,
      "what it holds counts again when it has caught up",
    ]);
  }

  async #register(deviceId: string, revision: number): Promise<void> {
    const { directory, clusterId } = this.#world;
    let last = revision;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const device = this.#find(deviceId);
      if (device === undefined) return;
      const record = this.#recordOf(device);
      const written = await putDevice(directory, clusterId, record, last);
      if (written !== undefined) {
        this.#revisions.set(deviceId, written);
        this.#told.set(deviceId, { text: JSON.stringify(record), sameCount: 0 });
        return;
      }
      // What was written without an answer looks as if somebody else had done it.
      const stored = (await listDevices(directory, clusterId)).find((one) => {
        return one.record.deviceId === deviceId;
      });
      if (stored !== undefined && stored.record.incarnation > device.incarnation) break;
      last = stored?.revision ?? 0;
    }
    throw contended(deviceId);
  }

  /** A device that this host had, and has not now. */
  async #miss({ record, revision }: StoredDevice): Promise<void> {
    const { hostName, devices } = this.#world;
    const { deviceId, path, state } = record;
    if (state === "lost") return;
    const successor = devices().find((device) => device.path === path);
    if (successor === undefined) {
      this.#event("device-gone", "warning", record, [
        `host ${hostName} had device ${deviceId} at ${path} and does not have it now`,
      ]);
      await this.#putAway({ record, revision }, "missing");
      return;
    }
    await this.#putAway({ record, revision }, "lost");
    this.#event("device-lost", "error", record, [
      `device ${deviceId} is lost: ${path} was empty and is device ${successor.deviceId} now;`,
      "its components are to be made anew",
    ]);
  }

  /** What this host's process said of it before it ended may have come to the directory since. */
  async #putAway(stored: StoredDevice, state: "missing" | "lost"): Promise<void> {
    const { directory, clusterId } = this.#world;
    const { deviceId } = stored.record;
    let last: StoredDevice | undefined = stored;
    for (let attempt = 0; attempt < ATTEMPTS_MAX && last !== undefined; attempt++) {
      const { record, revision } = last;
      // A failed one is not waited for, and not because its host has started anew either.
      if (record.state === state || (state === "missing" && record.state === "failed")) return;
      const written = await putDevice(directory, clusterId, { ...record, state }, revision);
      if (written !== undefined) return;
      marks.hit("what was said late of a device that is gone was overruled");
      const devices = await listDevices(directory, clusterId);
      last = devices.find((one) => one.record.deviceId === deviceId);
    }
    if (last !== undefined) throw contended(deviceId);
  }

  #event(
    kind: DeviceEvent["kind"],
    level: DeviceEvent["level"],
    { deviceId, path }: DeviceRecord,
    words: readonly string[],
  ): void {
    this.#world.addEvent({ kind, level, message: words.join(" "), details: { deviceId, path } });
  }
}

/** A device has a higher incarnation at each start, and frames that were durable stay. */
function isBehind(device: DeviceAge, record: DeviceRecord): boolean {
  return device.incarnation <= record.incarnation || device.frame < record.frame;
}

function contended(deviceId: string): CodedError {
  return new CodedError({
    code: "device-contended",
    message: `somebody else has told the cluster of device ${deviceId}`,
    hint: "a copy of it may be in use: keep one, and start its host again",
  });
}
