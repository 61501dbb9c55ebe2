/** The cluster as one host sees it: its parts together, and what its health is judged by. */
import { CodedError } from "../../base/index.ts";
import { versionKnownBy } from "../../cluster/index.ts";
import type { ServiceRecord } from "../../cluster/index.ts";
import { judgeHosts } from "../../ha/index.ts";
import type { ManagementPeer } from "../../plane/index.ts";
import type { Clock } from "../../ports/index.ts";
import type { RotationView } from "../certificates/certificate-views.ts";
import type { DataPlaneMethods, PeerView } from "../data/data-plane-port.ts";
import type { ResyncView } from "../upkeep/repair-views.ts";
import type { KnownVolumes } from "../volumes/known-volumes.ts";
import type { EventRing } from "../api/event-ring.ts";
import type { HealthFacts, MachineFacts } from "../health/health-check.ts";
import { FAULT_KINDS } from "../health/health-of-devices.ts";
import { judgeHealth, raisedChecks } from "../health/health.ts";
import type { RaisedCheck } from "../health/health.ts";
import type { HostFacts } from "../host-control.ts";
import { seenOf } from "./host-networks.ts";
import type { NetworkViews } from "./network-views.ts";
import type { RpcPeer } from "../data/rpc.ts";
import { version } from "../version.ts";
import type {
  DeviceView,
  EventView,
  HostView,
  NetworkView,
  StatsView,
  StatusView,
  VmList,
  VolumeView,
} from "../api/views.ts";

export interface ClusterStatusWorld {
  readonly hostId: string;
  readonly clusterId: string;
  readonly plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">;
  readonly volumes: KnownVolumes;
  readonly networks: Pick<NetworkViews, "view">;
  readonly events: EventRing;
  readonly clock: Clock;
  /** As `ManagementNetwork.peer`. */
  readonly managementPeer: (hostId: string) => ManagementPeer | undefined;
  readonly machine: () => MachineFacts;
  readonly directoryView: HostFacts["directoryView"];
  /** Fails while the directory cannot be asked. */
  readonly readClusterVersion: () => Promise<number>;
  readonly rotation: () => RotationView | undefined;
  /** Fails while the directory cannot be asked. */
  readonly listVms: () => Promise<VmList>;
  /** What is being taken out of service. Fails while the directory cannot be asked. */
  readonly listServices: () => Promise<readonly ServiceRecord[]>;
}

export class ClusterStatus {
  readonly #world: ClusterStatusWorld;
  readonly #startedMs: number;
  readonly #faults = new Map<string, EventView>();
  /** As they were when the directory could be asked last. */
  #devices: readonly DeviceView[] = [];
  #resyncs: readonly ResyncView[] = [];
  #services: readonly ServiceRecord[] = [];
  #clusterVersion: number | undefined;
  #stats: StatsView | undefined;

  constructor(world: ClusterStatusWorld) {
    this.#world = world;
    this.#startedMs = world.clock.nowMs();
    world.events.follow((event) => {
      const { deviceId } = event.details;
      if (event.kind === "damage-mended") this.#faults.delete(`${String(deviceId)} block-damaged`);
      if (!FAULT_KINDS.some((kind) => kind === event.kind)) return;
      this.#faults.set(`${String(deviceId)} ${event.kind}`, event);
    });
  }

  /** What was wrong with it is not any more. */
  forgetFaults(deviceId: string): void {
    for (const [key, event] of this.#faults) {
      if (event.details["deviceId"] === deviceId) this.#faults.delete(key);
    }
  }

  async hosts(): Promise<readonly HostView[]> {
    return (await this.#parts()).hosts;
  }

  async status(): Promise<StatusView> {
    const { clusterId, clock } = this.#world;
    const [facts, networks] = await Promise.all([this.#facts(), this.#world.networks.view()]);
    const { hosts, devices, volumes, attachments, resyncs, directory, rotation, clusterVersion } =
      facts;
    const { health, reasons } = judgeHealth(raisedChecks(facts));
    const sum = (pick: (device: DeviceView) => number): number =>
      devices.reduce((total, device) => total + pick(device), 0);
    return {
      health,
      reasons,
      version,
      clusterId,
      uptimeMs: Math.round(clock.nowMs() - this.#startedMs),
      hosts,
      devices,
      capacity: {
        capacityBytes: sum((device) => device.capacityBytes),
        freeBytes: sum((device) => device.freeBytes),
        usedBytes: sum((device) => device.uniqueBytes),
      },
      volumeCount: volumes.length,
      attachments,
      resyncs,
      ...(directory === undefined ? {} : { directory }),
      ...this.#judged(hosts, networks),
      ...(rotation === undefined ? {} : { rotation }),
      ...(clusterVersion === undefined ? {} : { clusterVersion }),
    };
  }

  /** What every host that answers says, over whichever network. */
  #judged(
    hosts: readonly HostView[],
    { hosts: views }: NetworkView,
  ): Pick<StatusView, "conditions" | "views"> {
    const leases = new Map(hosts.map(({ name, lease = "unknown" }) => [name, lease] as const));
    const sights = views.map(({ name, sees }) => ({
      host: name,
      lease: leases.get(name) ?? "unknown",
      ...(sees === undefined ? {} : { hears: sees }),
    }));
    const judge = hosts.find(({ hostId }) => hostId === this.#world.hostId)?.name ?? "";
    const conditions = judgeHosts(sights, judge);
    return conditions.length === 0 ? { conditions } : { conditions, views };
  }

  async raised(): Promise<readonly RaisedCheck[]> {
    return raisedChecks(await this.#facts());
  }

  async #facts(): Promise<HealthFacts> {
    const { hostId, plane, machine } = this.#world;
    const [parts, stats, { vms, unreadable: unreadableVms }, resyncs, clusterVersion] =
      await Promise.all([
        this.#parts(),
        known(plane.call("stats", undefined), () => this.#stats),
        this.#vms(),
        known(plane.call("listResyncs", undefined), () => this.#resyncs),
        known(this.#world.readClusterVersion(), () => this.#clusterVersion),
      ]);
    this.#clusterVersion = clusterVersion;
    this.#resyncs = resyncs;
    this.#stats = stats;
    const attachments = parts.volumes.flatMap(({ attachment }) => attachment ?? []);
    const faults = [...this.#faults.values()];
    const names = new Map(parts.hosts.map((host) => [host.hostId, host.name]));
    const directory = this.#world.directoryView(names);
    const rest = {
      attachments,
      faults,
      vms,
      unreadableVms,
      stats,
      resyncs,
      directory,
      machine: machine(),
    };
    return { hostId, ...parts, ...rest, rotation: this.#world.rotation(), clusterVersion };
  }

  async #parts(): Promise<Pick<HealthFacts, "hosts" | "devices" | "volumes">> {
    const { plane, listServices, volumes: knownVolumes } = this.#world;
    const [peers, all, { volumes }, services] = await Promise.all([
      plane.call("listHosts", undefined),
      known(plane.call("listDevices", undefined), () => this.#devices),
      known(knownVolumes.list(), () => ({ volumes: [] })),
      known(listServices(), () => this.#services),
    ]);
    this.#services = services;
    const isLeaving = (id: string): boolean => services.some((service) => service.id === id);
    const devices = all.map((device) =>
      isLeaving(device.deviceId) ? { ...device, isLeaving: true } : device,
    );
    this.#devices = devices;
    return { hosts: peers.map((peer) => this.#viewOf(peer, devices, volumes)), devices, volumes };
  }

  /** Without a directory there is nothing to tell of them, which is told by itself. */
  async #vms(): Promise<VmList> {
    try {
      return await this.#world.listVms();
    } catch (error) {
      if (error instanceof CodedError) return { vms: [] };
      throw error;
    }
  }

  #viewOf(
    peer: PeerView,
    devices: readonly DeviceView[],
    volumes: readonly VolumeView[],
  ): HostView {
    const { name, hostId, managementAddress, storageAddress, faultDomain } = peer;
    const told = hostId === this.#world.hostId ? version : peer.programVersion;
    const attached = volumes.filter(({ attachment }) => {
      return attachment?.host === name && attachment.state === "online";
    });
    const mode = this.#services.find(({ id }) => id === hostId)?.mode;
    return {
      name,
      hostId,
      ...seenOf(peer, this.#world.managementPeer(hostId)),
      apiAddress: managementAddress,
      ...(storageAddress === "" ? {} : { storageAddress }),
      faultDomain,
      ...(told === undefined ? {} : { version: told }),
      clusterVersion: versionKnownBy(peer),
      ...(peer.isUp ? { deviceCount: devices.filter(({ host }) => host === name).length } : {}),
      attachedCount: attached.length,
      ...(mode === undefined ? {} : { maintenance: mode }),
    };
  }
}

/** While the directory cannot be asked, what was known last: that it is away is told by itself. */
async function known<T, L>(asked: Promise<T>, last: () => L): Promise<T | L> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof CodedError && error.code.startsWith("directory-")) return last();
    throw error;
  }
}
