/** The devices of this host: opening them, finding components on them, adding up their numbers. */
import { dirname } from "node:path";
import { LATENCY_BOUNDS_MS, CodedError } from "../../base/index.ts";
import type { DiskMemory } from "../../ports/index.ts";
import type { HostPlane, LocalDevice } from "../../plane/index.ts";
import type { DeviceEvent, DeviceStats, LocalComponent } from "../../store/index.ts";
import { isClean } from "../../store/index.ts";
import { addUp, numbersOf } from "../api/add-up.ts";
import { cacheViews } from "../api/cache-views.ts";
import type { OpenDeviceRequest } from "./data-plane-port.ts";
import { openDeviceAt } from "./device-opener.ts";
import type { OpenedDevice } from "./device-opener.ts";
import { nearest } from "../nearest.ts";
import { OpeningCounts } from "./opening-counts.ts";
import { refusedDevice } from "./refused-device.ts";
import { memoryNow } from "./memory-plan.ts";
import type { PlaneWorld } from "./plane-world.ts";
import type { DeviceView, ScrubView, StatsView, VolumeStatsView } from "../api/views.ts";

export class DeviceSet {
  readonly #world: PlaneWorld;
  readonly #volumeName: (objectId: string) => string | undefined;
  readonly #openings: OpeningCounts;
  readonly #opened: OpenedDevice[] = [];
  readonly #refused: DeviceView[] = [];
  readonly #failures = new Map<string, string>();
  /** Devices that are being read through for somebody, and how far that has come: 0 to 1. */
  readonly #scrubs = new Map<string, number>();

  /** `volumeName` tells the volume of an object, where it is known. */
  constructor(world: PlaneWorld, volumeName: (objectId: string) => string | undefined) {
    this.#world = world;
    this.#volumeName = volumeName;
    this.#openings = new OpeningCounts(dirname(world.identity.devicesPath), world.log);
  }

  /** What cannot be opened is shown as refused. */
  async open(request: OpenDeviceRequest): Promise<DeviceView> {
    let opened: OpenedDevice;
    try {
      opened = await this.#openings.during(request.path, () => this.#openAt(request));
    } catch (error) {
      const refused = await refusedDevice(this.#world, request.path, error);
      this.#refused.push(refused);
      return refused;
    }
    return await this.#take(request, opened);
  }

  /** Fails if it cannot be opened. */
  async add(request: OpenDeviceRequest): Promise<DeviceView> {
    return await this.#take(request, await this.#openAt(request));
  }

  #openAt(request: OpenDeviceRequest): Promise<OpenedDevice> {
    return openDeviceAt(this.#world, request, (event) => this.#happened(request.path, event));
  }

  async #take(request: OpenDeviceRequest, opened: OpenedDevice): Promise<DeviceView> {
    const { deviceId } = opened.device;
    if (this.#opened.some((other) => other.device.deviceId === deviceId)) {
      await opened.device.close();
      throw new CodedError({
        code: "device-in-use",
        message: `${request.path} and another device of this host have the same id ${deviceId}`,
        hint: "One is a copy of the other: leave the copy out",
      });
    }
    this.#opened.push(opened);
    return this.#view(opened);
  }

  get opened(): readonly OpenedDevice[] {
    return this.#opened;
  }

  /** Memory that every device can read into. Fails with `no-device`. */
  allocate(lengthBytes: number): DiskMemory {
    const opened = this.#opened[0] ?? this.roomiest();
    return opened.device.allocate(lengthBytes);
  }

  component(componentId: string): LocalComponent | undefined {
    for (const { device } of this.#opened) {
      const found = device.component(componentId);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Objects with transactions on these devices that nobody has decided since the start. */
  undecidedObjects(): string[] {
    const objects = this.#opened.flatMap(({ device }) =>
      device.undecided().map(({ objectId }) => objectId),
    );
    return [...new Set(objects)];
  }

  /** From whichever device has it, or is just making it. */
  async remove(componentId: string): Promise<void> {
    for (const { device } of this.#opened) await device.deleteComponent(componentId);
  }

  deviceOf(componentId: string): OpenedDevice | undefined {
    return this.#opened.find(({ device }) => device.component(componentId) !== undefined);
  }

  byId(deviceId: string): OpenedDevice {
    const found = this.#opened.find(({ device }) => device.deviceId === deviceId);
    if (found !== undefined) return found;
    throw this.#unknown(deviceId, 0);
  }

  /** What the cluster is told about them. */
  list(): readonly LocalDevice[] {
    return this.#opened.map((opened) => ({
      deviceId: opened.device.deviceId,
      path: opened.path,
      sizeBytes: opened.device.stats().capacityBytes,
      freeBytes: freeBytes(opened),
      hasFailed: this.#failures.has(opened.device.deviceId),
      ...opened.device.age,
    }));
  }

  /** The device with the most room, of those that take writes. Fails with `no-device`. */
  roomiest(): OpenedDevice {
    const online = this.#opened.filter(({ device }) => !this.#failures.has(device.deviceId));
    const best = online.toSorted((a, b) => freeBytes(b) - freeBytes(a))[0];
    if (best !== undefined) return best;
    throw new CodedError({
      code: "no-device",
      message: "this host has no device that takes writes",
      hint: "drystone device list says why; add a device to the host's configuration",
    });
  }

  views(): DeviceView[] {
    return [...this.#opened.map((opened) => this.#view(opened)), ...this.#refused];
  }

  /** Bytes with data, before deduplication, by object. */
  logicalBytes(): Map<string, number> {
    const byObject = new Map<string, number>();
    for (const { device } of this.#opened) {
      for (const { objectId, mappedBytes } of device.stats().components) {
        byObject.set(objectId, (byObject.get(objectId) ?? 0) + mappedBytes);
      }
    }
    return byObject;
  }

  /** By component: bytes with data, before deduplication. */
  componentBytes(): [string, number][] {
    return this.#opened.flatMap(({ device }) =>
      device
        .stats()
        .components.map(({ componentId, mappedBytes }): [string, number] => [
          componentId,
          mappedBytes,
        ]),
    );
  }

  /** By component: the newest committed sequence as its device knows it. */
  sequences(): [string, number][] {
    return this.#opened.flatMap(({ device }) =>
      device
        .components()
        .map(({ componentId, committedSequence }): [string, number] => [
          componentId,
          committedSequence,
        ]),
    );
  }

  stats(
    volumes: readonly VolumeStatsView[],
    plane: Pick<HostPlane, "catchUp" | "kept" | "rebuild" | "scrub">,
  ): StatsView {
    const all = this.#opened.map((opened) => ({ opened, stats: opened.device.stats() }));
    const sum = (pick: (stats: DeviceStats) => number): number =>
      all.reduce((total, { stats }) => total + pick(stats), 0);
    const logicalBytes = sum((stats) => stats.logicalBytes);
    const uniqueBytes = sum((stats) => stats.uniqueBytes);
    return {
      logicalBytes,
      uniqueBytes,
      physicalBytes: sum((stats) => stats.physicalBytes),
      capacityBytes: sum((stats) => stats.capacityBytes),
      freeBytes: all.reduce((total, { opened }) => total + freeBytes(opened), 0),
      reclaimableBytes: sum((stats) => stats.reclaimableBytes),
      dedupRatio: uniqueBytes === 0 ? 1 : logicalBytes / uniqueBytes,
      ...cacheViews(all.map(({ stats }) => stats)),
      journal: addUp(all.map(({ stats }) => numbersOf(stats.journal))),
      destage: addUp(all.map(({ stats }) => numbersOf(stats.counters))),
      sharedMemory: {},
      farCache: plane.kept.farCache,
      memory: { ...memoryNow(this.#world.identity.memory), ...plane.kept.bytes },
      rebuild: { ...plane.rebuild },
      catchUp: { ...plane.catchUp },
      scrub: { ...plane.scrub.counters },
      volumes,
      latencyBoundsMs: LATENCY_BOUNDS_MS,
    };
  }

  /** `device` is an id or the beginning of one. Fails with `device-unknown`. */
  async scrub(device: string): Promise<ScrubView> {
    const found = this.#opened.filter((opened) => opened.device.deviceId.startsWith(device));
    if (found.length !== 1) throw this.#unknown(device, found.length);
    const { device: scrubbed } = found[0]!;
    const { deviceId } = scrubbed;
    this.#scrubs.set(deviceId, 0);
    const report = await scrubbed
      .scrub({ onProgress: (done, total) => void this.#scrubs.set(deviceId, done / total) })
      .finally(() => this.#scrubs.delete(deviceId));
    const { contents, logicalBlocks, ...findings } = report;
    const problems = Object.entries(findings).filter(([, count]) => count > 0);
    return {
      deviceId,
      problemCount: isClean(report) ? 0 : problems.reduce((sum, [, count]) => sum + count, 0),
      report: { contents, logicalBlocks, ...findings },
      problems: problems.map(([name, count]) => `${count} ${words(name)}`),
    };
  }

  async close(): Promise<void> {
    const closing = this.#opened.map(({ device }) => device.close());
    const failed = (await Promise.allSettled(closing)).find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  #unknown(device: string, count: number): CodedError {
    const ids = this.#opened.map((opened) => opened.device.deviceId);
    const meant = nearest(device, ids);
    const message =
      count === 0
        ? `no device has an id that begins with ${device.slice(0, 64)}`
        : `${count} devices have an id that begins with "${device}"`;
    const hint = meant === undefined ? "run drystone device list" : `Did you mean ${meant}?`;
    return new CodedError({ code: "device-unknown", message, hint });
  }

  #happened(path: string, event: DeviceEvent): void {
    const { kind, level, details } = event;
    if (kind === "device-failed") this.#failures.set(String(details["deviceId"]), event.message);
    const objectId = this.#objectOf(details["componentId"]);
    const volume = objectId === undefined ? undefined : this.#volumeName(objectId);
    const message = volume === undefined ? event.message : `${event.message} (volume ${volume})`;
    const where = volume === undefined ? { path } : { path, volume };
    this.#world.addEvent({ kind, level, message, details: { ...details, ...where } });
  }

  #objectOf(componentId: string | number | boolean | undefined): string | undefined {
    for (const { device } of this.#opened) {
      const info = device.components().find((one) => one.componentId === componentId);
      if (info !== undefined) return info.objectId;
    }
    return undefined;
  }

  #view(opened: OpenedDevice): DeviceView {
    const { device, disk, path } = opened;
    const stats = device.stats();
    const failure = this.#failures.get(device.deviceId);
    const scrubShare = this.#scrubs.get(device.deviceId);
    return {
      deviceId: device.deviceId,
      host: this.#world.identity.hostName,
      path,
      state: failure === undefined ? "online" : "failed",
      ...(failure === undefined ? {} : { reason: failure }),
      adapter: disk.kind,
      capacityBytes: stats.capacityBytes,
      freeBytes: freeBytes(opened),
      logicalBytes: stats.logicalBytes,
      uniqueBytes: stats.uniqueBytes,
      physicalBytes: stats.physicalBytes,
      reclaimableBytes: stats.reclaimableBytes,
      checksumErrors: stats.counters.checksumErrors,
      readErrors: stats.counters.readErrors,
      damagedBlocks: stats.badBlocks,
      componentCount: stats.components.length,
      ...(scrubShare === undefined ? {} : { scrubShare }),
    };
  }
}

/**
 * What new data can take: room on the device, as far as its file system has room for a sparse file.
 */
function freeBytes({ device, disk }: OpenedDevice): number {
  const stats = device.stats();
  return Math.min(stats.freeBytes, stats.reclaimableBytes + disk.availableBytes());
}

/** `leakedBlocks` as `leaked blocks`. */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
