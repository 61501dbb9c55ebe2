/**
 * The handlers of the operation table: what a host answers, made of the data plane, the events and
 * time.
 */
import { CodedError } from "../base/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import type { DataPlaneMethods, PeerView } from "./data-plane-port.ts";
import type { EventRing } from "./event-ring.ts";
import type { ManagementPeer } from "../plane/index.ts";
import { seenOf } from "./host-networks.ts";
import { judgeHealth } from "./health.ts";
import type { Handlers } from "./http-api.ts";
import type { JoinDesk } from "./join-desk.ts";
import type { NetworkViews } from "./network-views.ts";
import { nearest } from "./nearest.ts";
import type { RpcPeer } from "./rpc.ts";
import { version } from "./version.ts";
import type {
  DeviceView,
  EventView,
  HostView,
  StatusView,
  TokenView,
  VolumeView,
} from "./views.ts";
import { vmHandlers } from "./vm-control.ts";
import type { VmMachineHandlers } from "./vm-machine.ts";

const EVENTS_LIMIT_DEFAULT = 100;
/** Kinds of device events that `status` shows until the device was scrubbed clean. */
const FAULT_KINDS: readonly string[] = [
  "block-damaged",
  "metadata-damaged",
  "journal-repaired",
  "superblock-repaired",
];

export interface HostFacts {
  readonly name: string;
  readonly hostId: string;
  readonly clusterId: string;
  /** As the API's listener was told, with the port that was chosen. */
  readonly apiAddress: () => string;
  readonly networks: NetworkViews;
  /** As `ManagementNetwork.peer`. */
  readonly managementPeer: (hostId: string) => ManagementPeer | undefined;
  readonly vmMachine: VmMachineHandlers;
}

type Plane = Pick<RpcPeer<object, DataPlaneMethods>, "call">;

export class HostControl {
  readonly handlers: Handlers;
  readonly #facts: HostFacts;
  readonly #plane: Plane;
  readonly #events: EventRing;
  readonly #desk: JoinDesk | undefined;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #faults = new Map<string, EventView>();

  readonly #directory: Directory;

  constructor(
    facts: HostFacts,
    plane: Plane,
    events: EventRing,
    clock: Clock,
    directory: Directory,
    desk: JoinDesk | undefined,
  ) {
    this.#directory = directory;
    this.#desk = desk;
    this.#facts = facts;
    this.#plane = plane;
    this.#events = events;
    this.#clock = clock;
    this.#startedMs = clock.nowMs();
    events.follow((event) => this.#noteFault(event));
    this.handlers = this.#makeHandlers();
  }

  /** The host's. */
  get name(): string {
    return this.#facts.name;
  }

  /** Why nothing should be sent here, or undefined. */
  async unhealthyReason(): Promise<string | undefined> {
    const { health, reasons } = await this.#status();
    return health === "failed" ? reasons.map(({ message }) => message).join("; ") : undefined;
  }

  #makeHandlers(): Handlers {
    const plane = this.#plane;
    const done = { done: true } as const;
    return {
      status: () => this.#status(),
      "host.list": async () => ({ hosts: await this.#hostViews() }),
      "host.show": ({ name }) => this.#showHost(name),
      "network.show": () => this.#facts.networks.view(),
      "device.list": async () => ({ devices: await plane.call("listDevices", undefined) }),
      "device.scrub": ({ device }) => this.#scrub(device),
      "volume.create": (request) => plane.call("createVolume", request),
      "volume.list": async () => ({ volumes: await plane.call("listVolumes", undefined) }),
      "volume.show": ({ name }) => plane.call("showVolume", name),
      "volume.resize": (request) => plane.call("resizeVolume", request),
      "volume.delete": async ({ name }) => {
        await plane.call("deleteVolume", name);
        return done;
      },
      "volume.attach": async (request) => {
        if (request.host !== undefined) await this.#showHost(request.host);
        return await plane.call("attach", request);
      },
      "volume.detach": async ({ name }) => {
        await plane.call("detach", name);
        return done;
      },
      ...vmHandlers({
        directory: this.#directory,
        clock: this.#clock,
        clusterId: this.#facts.clusterId,
        hostId: this.#facts.hostId,
        hostNames: async () => {
          const peers = await plane.call("listHosts", undefined);
          return new Map(peers.map((peer) => [peer.hostId, peer.name]));
        },
        checkVolume: async (name) => void (await plane.call("showVolume", name)),
      }),
      ...this.#facts.vmMachine,
      "token.create": ({ ttlMinutes }) => this.#createToken(ttlMinutes),
      stats: () => plane.call("stats", undefined),
      events: async ({ after, limit }) => ({
        events: this.#events.list(after ?? 0, limit ?? EVENTS_LIMIT_DEFAULT),
        lastSequence: this.#events.lastSequence,
      }),
    };
  }

  async #createToken(ttlMinutes: number | undefined): Promise<TokenView> {
    if (this.#desk !== undefined) return await this.#desk.createToken(ttlMinutes);
    throw new CodedError({
      code: "not-supported",
      message: "this host is not part of a cluster that others can join",
      hint: "drystone init makes a cluster",
    });
  }

  async #status(): Promise<StatusView> {
    const devices = await this.#plane.call("listDevices", undefined);
    const volumes = await this.#plane.call("listVolumes", undefined);
    const attachments = volumes.flatMap(({ attachment }) => attachment ?? []);
    const peers = await this.#plane.call("listHosts", undefined);
    const hosts = peers.map((peer) => this.#viewOf(peer, devices, volumes));
    const faults = [...this.#faults.values()];
    const { health, reasons } = judgeHealth({
      ...{ hostId: this.#facts.hostId, hosts, devices, volumes, attachments, faults },
    });
    const sum = (pick: (device: (typeof devices)[number]) => number): number =>
      devices.reduce((total, device) => total + pick(device), 0);
    return {
      health,
      reasons,
      version,
      clusterId: this.#facts.clusterId,
      uptimeMs: Math.round(this.#clock.nowMs() - this.#startedMs),
      hosts,
      devices,
      capacity: {
        capacityBytes: sum((device) => device.capacityBytes),
        freeBytes: sum((device) => device.freeBytes),
        usedBytes: sum((device) => device.uniqueBytes),
      },
      volumeCount: volumes.length,
      attachments,
    };
  }

  async #scrub(device: string): Promise<Awaited<ReturnType<Handlers["device.scrub"]>>> {
    const scrub = await this.#plane.call("scrubDevice", device);
    if (scrub.problemCount > 0) return scrub;
    for (const [key, event] of this.#faults) {
      if (event.details["deviceId"] === scrub.deviceId) this.#faults.delete(key);
    }
    return scrub;
  }

  async #showHost(name: string): Promise<HostView> {
    const hosts = await this.#hostViews();
    const found = hosts.find((host) => host.name === name || host.hostId === name);
    if (found !== undefined) return found;
    const meant = nearest(
      name,
      hosts.map((host) => host.name),
    );
    throw new CodedError({
      code: "host-unknown",
      message: `there is no host named ${name.slice(0, 80)}`,
      hint: meant === undefined ? "drystone host list shows all hosts" : `Did you mean ${meant}?`,
    });
  }

  async #hostViews(): Promise<readonly HostView[]> {
    const peers = await this.#plane.call("listHosts", undefined);
    const devices = await this.#plane.call("listDevices", undefined);
    const volumes = await this.#plane.call("listVolumes", undefined);
    return peers.map((peer) => this.#viewOf(peer, devices, volumes));
  }

  #viewOf(
    peer: PeerView,
    devices: readonly DeviceView[],
    volumes: readonly VolumeView[],
  ): HostView {
    const { name, hostId, managementAddress, storageAddress, faultDomain } = peer;
    const attached = volumes.filter(({ attachment }) => {
      return attachment?.host === name && attachment.state === "online";
    });
    return {
      name,
      hostId,
      ...seenOf(peer, this.#facts.managementPeer(hostId)),
      apiAddress: managementAddress,
      ...(storageAddress === "" ? {} : { storageAddress }),
      faultDomain,
      ...(hostId === this.#facts.hostId ? { version } : {}),
      ...(peer.isUp ? { deviceCount: devices.filter(({ host }) => host === name).length } : {}),
      attachedCount: attached.length,
    };
  }

  #noteFault(event: EventView): void {
    if (!FAULT_KINDS.includes(event.kind)) return;
    this.#faults.set(`${String(event.details["deviceId"])} ${event.kind}`, event);
  }
}
