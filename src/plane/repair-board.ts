/**
 * What this host knows of the cluster when it decides about repairs: settings, devices, what is
 * being taken out of service, and since when each host and device has been away as seen from here.
 * One look serves all objects of the host for a moment, at what watches of the directory have told.
 */
import { deviceMirror, listDevices, listServices, readSettings } from "../cluster/index.ts";
import { serviceMirror, SettingsMirror } from "../cluster/index.ts";
import type {
  ClusterSettings,
  ComponentRecord,
  DeviceRecord,
  DirectoryMirror,
  DirectoryPulse,
  HostRecord,
  ObjectRecord,
  ServiceRecord,
} from "../cluster/index.ts";
import { leavesOf, legsOf, componentsOf, votesOf } from "../cluster/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import type { StoredBytes } from "./stored-bytes.ts";

const LOOK_MS = 1000;
/** What is being built on a host that has gone is built elsewhere after this, if not sooner. */
const BUILDING_AWAY_MS = 60_000;

type Known = Pick<RepairView, "settings" | "devices" | "services">;
type KnownOfView = Pick<RepairView, "settings" | "devices" | "services" | "hosts" | "stored">;

export interface RepairBoardWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly pulse: DirectoryPulse;
  readonly stored: Pick<StoredBytes, "byComponent">;
  readonly objects: Pick<DirectoryMirror<ObjectRecord>, "values">;
  readonly hosts: {
    readonly records: readonly HostRecord[];
    isReachable(hostId: string): boolean;
  };
}

/** How the cluster is at one moment. */
export class RepairView {
  readonly settings: ClusterSettings;
  readonly devices: readonly DeviceRecord[];
  readonly services: readonly ServiceRecord[];
  readonly hosts: readonly HostRecord[];
  /** What components have, in bytes before deduplication; of none unless it was asked for. */
  readonly stored: ReadonlyMap<string, number>;
  readonly #reachable: ReadonlySet<string>;
  readonly #awayMs: ReadonlyMap<string, number>;

  constructor(
    known: KnownOfView,
    reachable: ReadonlySet<string>,
    awayMs: ReadonlyMap<string, number>,
  ) {
    this.settings = known.settings;
    this.devices = known.devices;
    this.services = known.services;
    this.hosts = known.hosts;
    this.stored = known.stored;
    this.#reachable = reachable;
    this.#awayMs = awayMs;
  }

  isReachable(hostId: string): boolean {
    return this.#reachable.has(hostId);
  }

  /** As it would be with this one leaving. */
  withService(service: ServiceRecord): RepairView {
    const services = [...this.services.filter(({ id }) => id !== service.id), service];
    return new RepairView({ ...known(this), services }, this.#reachable, this.#awayMs);
  }

  withStored(stored: ReadonlyMap<string, number>): RepairView {
    return new RepairView({ ...known(this), stored }, this.#reachable, this.#awayMs);
  }

  /** Nothing new goes to a host or a device that is being taken out of service. */
  isInService(device: DeviceRecord): boolean {
    return !this.services.some(({ id }) => id === device.deviceId || id === device.hostId);
  }

  hasDevice(deviceId: string): boolean {
    return this.devices.some((device) => device.deviceId === deviceId);
  }

  /** Whether its device or host is gone for good, or for longer than is waited for. */
  isGone({ deviceId, hostId, state }: ComponentRecord): boolean {
    const device = this.devices.find((one) => one.deviceId === deviceId);
    if (device === undefined || device.state === "lost" || device.state === "failed") return true;
    const { repairDelayMs } = this.settings;
    const delayMs =
      state.kind === "building" || state.kind === "joining"
        ? Math.min(repairDelayMs, BUILDING_AWAY_MS)
        : repairDelayMs;
    return (
      (this.#awayMs.get(hostId) ?? -1) >= delayMs || (this.#awayMs.get(deviceId) ?? -1) >= delayMs
    );
  }

  /** Whether it has to leave its device although nothing is wrong with it. */
  isLeaving(record: ObjectRecord, { deviceId, hostId }: ComponentRecord): boolean {
    // It can be read as long as nothing is written.
    const device = this.devices.find((one) => one.deviceId === deviceId);
    if (device?.state === "failed") return true;
    return this.services.some(({ id, mode }) => {
      if (id !== deviceId && id !== hostId) return false;
      if (mode === "none") return false;
      return mode === "evacuate" || !this.isUsableWithout(record, id);
    });
  }

  /** Whether a volume can be used while a host or a device is away. */
  isUsableWithout(record: ObjectRecord, ...gone: readonly string[]): boolean {
    const here = new Set(
      record.components
        .filter(({ hostId, deviceId }) => !gone.includes(hostId) && !gone.includes(deviceId))
        .filter((entry) => this.isReachable(entry.hostId) && !this.isGone(entry))
        .filter(({ state }) => state.kind !== "building")
        .map(({ componentId }) => componentId),
    );
    const votes = leavesOf(record.tree)
      .filter(({ componentId }) => here.has(componentId))
      .reduce((sum, leaf) => sum + leaf.votes, 0);
    if (2 * votes <= votesOf(record.tree)) return false;
    const active = new Set(
      record.components
        .filter(({ state }) => state.kind === "active")
        .map(({ componentId }) => componentId),
    );
    return legsOf(record.tree).some((leg) =>
      componentsOf(leg).every(
        ({ componentId }) => here.has(componentId) && active.has(componentId),
      ),
    );
  }

  /** Legs that hold everything and can be reached. */
  copiesOf(record: ObjectRecord): number {
    const good = new Set(
      record.components
        .filter((entry) => entry.state.kind === "active" && !this.isGone(entry))
        .filter(({ hostId }) => this.isReachable(hostId))
        .map(({ componentId }) => componentId),
    );
    return legsOf(record.tree).filter((leg) =>
      componentsOf(leg).every(({ componentId }) => good.has(componentId)),
    ).length;
  }
}

function known(view: RepairView): KnownOfView {
  const { settings, devices, services, hosts, stored } = view;
  return { settings, devices, services, hosts, stored };
}

export class RepairBoard {
  readonly #world: RepairBoardWorld;
  readonly #mirrors: {
    readonly settings: SettingsMirror;
    readonly devices: DirectoryMirror<DeviceRecord>;
    readonly services: DirectoryMirror<ServiceRecord>;
  };
  /** Hosts and devices, by id: when they were first seen to be away. */
  readonly #awaySinceMs = new Map<string, number>();
  #settings: ClusterSettings | undefined;
  #view: Promise<RepairView> | undefined;
  #viewMs = 0;

  constructor(world: RepairBoardWorld) {
    this.#world = world;
    const { directory, clusterId, clock, pulse } = world;
    this.#mirrors = {
      settings: new SettingsMirror(directory, clusterId, clock, pulse),
      devices: deviceMirror(directory, clusterId, clock, pulse),
      services: serviceMirror(directory, clusterId, clock, pulse),
    };
  }

  close(): void {
    const { settings, devices, services } = this.#mirrors;
    for (const mirror of [settings, devices, services]) mirror.close();
  }

  /** As it was a moment ago. Fails as the directory does. */
  view(): Promise<RepairView> {
    const nowMs = this.#world.clock.nowMs();
    if (this.#view !== undefined && nowMs - this.#viewMs < LOOK_MS) return this.#view;
    return this.#viewOf(this.#seen());
  }

  /** As it is now. */
  fresh(): Promise<RepairView> {
    return this.#viewOf(this.#read());
  }

  /** The same with what components have: for who looks for places, or for whose turn it is. */
  async withStored(view: Promise<RepairView>): Promise<RepairView> {
    const stored = await this.#world.stored.byComponent();
    return (await view).withStored(stored);
  }

  #viewOf(known: Promise<Known>): Promise<RepairView> {
    this.#viewMs = this.#world.clock.nowMs();
    const view = known.then((one) => this.#look(one));
    this.#view = view;
    view.catch(() => {
      if (this.#view === view) this.#view = undefined;
    });
    return view;
  }

  /** As they were at the last look. */
  get settings(): ClusterSettings | undefined {
    return this.#settings;
  }

  /** All volumes of the cluster, as they were a moment ago. Fails as the directory does. */
  volumes(): Promise<readonly ObjectRecord[]> {
    return this.#world.objects.values();
  }

  async #seen(): Promise<Known> {
    const [settings, devices, services] = await Promise.all([
      this.#mirrors.settings.value(),
      this.#mirrors.devices.values(),
      this.#mirrors.services.values(),
    ]);
    return { settings, devices, services };
  }

  async #read(): Promise<Known> {
    const { directory, clusterId } = this.#world;
    const [settings, devices, services] = await Promise.all([
      readSettings(directory, clusterId),
      listDevices(directory, clusterId),
      listServices(directory, clusterId),
    ]);
    return { settings, devices: devices.map(({ record }) => record), services };
  }

  #look({ settings, devices, services }: Known): RepairView {
    const { hosts, clock } = this.#world;
    this.#settings = settings;
    const nowMs = clock.nowMs();
    const reachable = new Set<string>();
    const awayMs = new Map<string, number>();
    const note = (id: string, isAway: boolean): void => {
      if (!isAway) {
        this.#awaySinceMs.delete(id);
        return;
      }
      const sinceMs = this.#awaySinceMs.get(id) ?? nowMs;
      this.#awaySinceMs.set(id, sinceMs);
      awayMs.set(id, nowMs - sinceMs);
    };
    // A host without a record is away, too, as long as components are said to be on it.
    const hostIds = [...hosts.records, ...devices].map(({ hostId }) => hostId);
    for (const hostId of new Set(hostIds)) {
      if (hosts.isReachable(hostId)) reachable.add(hostId);
      note(hostId, !reachable.has(hostId));
    }
    for (const { deviceId, state } of devices) note(deviceId, state === "missing");
    const stored: ReadonlyMap<string, number> = new Map();
    const found = { settings, devices, services, hosts: hosts.records, stored };
    return new RepairView(found, reachable, awayMs);
  }
}
