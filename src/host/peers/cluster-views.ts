/**
 * What the API shows of the whole cluster: records from the directory, what owners and devices on
 * other hosts know by asking them. A host that does not answer costs its part of the picture only.
 */
import { LATENCY_BOUNDS_MS, CodedError } from "../../base/index.ts";
import { isNamespaceName } from "../../cluster/index.ts";
import type { ObjectRecord } from "../../cluster/index.ts";
import type { OwnerState } from "../../object/index.ts";
import { withReach } from "../../plane/index.ts";
import type { HostPlane } from "../../plane/index.ts";
import { addUp } from "../api/add-up.ts";
import type { Attachments } from "../volumes/attachments.ts";
import { addCaches } from "../api/cache-views.ts";
import type { PeerView } from "../data/data-plane-port.ts";
import type { DeviceSet } from "../data/device-set.ts";
import { hostPartOf } from "./host-part.ts";
import type { HostPart } from "./host-part.ts";
import { PeerAnswers, readAnswer, readAnswers } from "./peer-answers.ts";
import type { PlaneWorld } from "../data/plane-world.ts";
import type { DeviceView, ScrubView, SeenHostView } from "../api/views.ts";
import type { StatsView, TrafficView, VolumeView } from "../api/views.ts";
import { scrubShape } from "../api/stats-shapes.ts";
import { seenHostShape } from "../api/view-shapes.ts";
import { volumeView } from "../volumes/volume-view.ts";

const ASK_MS = 2000;
/** A large device is read through. */
const SCRUB_MS = 30 * 60_000;

export class ClusterViews {
  readonly #world: PlaneWorld;
  readonly #plane: HostPlane;
  readonly #devices: DeviceSet;
  readonly #attachments: Attachments;
  readonly #answers: PeerAnswers;
  #records: readonly ObjectRecord[] = [];
  #asking: Promise<readonly HostPart[]> | undefined;

  constructor(world: PlaneWorld, plane: HostPlane, devices: DeviceSet, attachments: Attachments) {
    this.#world = world;
    this.#plane = plane;
    this.#devices = devices;
    this.#attachments = attachments;
    this.#answers = new PeerAnswers(world);
    const { links } = plane;
    links.handle("host.part", async () => ({ result: this.#part() }), "long");
    links.handle("host.seen", async () => ({ result: await world.seenHosts() }));
    links.handle("device.scrub", async ({ argument }) => ({
      result: await devices.scrub(String(argument)),
    }));
  }

  async hosts(): Promise<readonly PeerView[]> {
    const leases = await this.#leases();
    return this.#plane.hosts.records.map((record) => {
      const isUp = this.#plane.hosts.isReachable(record.hostId);
      const peer = this.#plane.links.peer(record.hostId);
      const reason = isUp ? undefined : peer?.reason;
      const lease = leases === undefined ? "unknown" : leases.has(record.hostId) ? "held" : "lost";
      return {
        ...{ ...record, isUp, lease },
        ...(reason === undefined ? {} : { reason }),
        ...(peer === undefined ? {} : { roundTrips: peer.roundTrips.view() }),
      };
    });
  }

  /** Undefined while the directory cannot be asked. */
  async #leases(): Promise<ReadonlySet<string> | undefined> {
    try {
      return await this.#plane.hosts.withLeases();
    } catch (error) {
      if (error instanceof CodedError) return undefined;
      throw error;
    }
  }

  /** Fails with `host-unreachable` or `message-invalid`. */
  async askSeen(hostId: string): Promise<readonly SeenHostView[]> {
    const options = { deadlineMs: ASK_MS };
    const { result } = await this.#plane.links.call(hostId, "host.seen", null, options);
    return readAnswers(seenHostShape, result);
  }

  /** This host's first. */
  async devices(): Promise<readonly DeviceView[]> {
    return (await this.#parts()).flatMap(({ devices }) => devices);
  }

  /** What owners everywhere know of their objects. */
  async owners(): Promise<readonly OwnerState[]> {
    return (await this.#parts()).flatMap(({ owners }) => owners);
  }

  /** By component: bytes with data, before deduplication. */
  async componentBytes(): Promise<readonly (readonly [string, number])[]> {
    return (await this.#parts()).flatMap(({ componentBytes }) => componentBytes);
  }

  /** On the host that has the device. Fails with `device-unknown`, and as a scrub there. */
  async scrub(device: string): Promise<ScrubView> {
    const { hostName } = this.#world.identity;
    const found = (await this.devices()).filter(({ deviceId }) => deviceId.startsWith(device));
    const [only] = found;
    const isElsewhere = found.length === 1 && only !== undefined && only.host !== hostName;
    const record = this.#plane.hosts.records.find(({ name }) => name === only?.host);
    if (!isElsewhere || record === undefined) return await this.#devices.scrub(device);
    const options = { deadlineMs: SCRUB_MS };
    const { links } = this.#plane;
    const { result } = await links.call(record.hostId, "device.scrub", only.deviceId, options);
    return readAnswer(scrubShape, result, "host-unreachable");
  }

  async volumes(): Promise<readonly VolumeView[]> {
    const records = (await this.#plane.volumes()).filter(isUsers);
    const parts = await this.#parts();
    return await Promise.all(records.map((record) => this.#view(record, parts)));
  }

  async volume(record: ObjectRecord): Promise<VolumeView> {
    return await this.#view(record, await this.#parts());
  }

  async stats(): Promise<StatsView> {
    const parts = await this.#parts();
    const records = (await this.#recordsKnown()).filter(isUsers);
    const volumes = records.map(({ name, sizeBytes, objectId }) => {
      const logicalBytes = largest(parts, objectId);
      const io = parts.flatMap((part) => part.io).find(([id]) => id === objectId)?.[1];
      return {
        name,
        sizeBytes,
        ...(logicalBytes === undefined ? {} : { logicalBytes }),
        ...(io === undefined ? {} : { io }),
      };
    });
    return { ...addStats(parts.map(({ stats }) => stats)), volumes };
  }

  /** Of this host alone, without volumes. */
  ownStats(): StatsView {
    const { sharedMemory } = this.#attachments;
    return { ...this.#devices.stats([], this.#plane), sharedMemory };
  }

  /** While the directory cannot be asked, counters go on, of the volumes that were known last. */
  async #recordsKnown(): Promise<readonly ObjectRecord[]> {
    try {
      this.#records = await this.#plane.volumes();
    } catch (error) {
      if (!(error instanceof CodedError && error.code.startsWith("directory-"))) throw error;
    }
    return this.#records;
  }

  #part(): HostPart {
    const records = [...this.#attachments.owners(), ...this.#plane.repairOwners()];
    return {
      owners: records.map((owner) =>
        withReach(
          owner.state,
          (hostId) => this.#plane.hosts.isReachable(hostId),
          (hostId) => this.#plane.hosts.nameOf(hostId),
        ),
      ),
      logicalBytes: [...this.#devices.logicalBytes()],
      componentBytes: this.#devices.componentBytes(),
      sequences: this.#devices.sequences(),
      io: this.#attachments.io(),
      devices: this.#devices.views(),
      stats: this.ownStats(),
    };
  }

  /** Who asks while other hosts are being asked gets the same answers of theirs. */
  async #parts(): Promise<readonly HostPart[]> {
    this.#asking ??= this.#askOthers().finally(() => {
      this.#asking = undefined;
    });
    const others = await this.#asking;
    return [this.#part(), ...others];
  }

  async #askOthers(): Promise<readonly HostPart[]> {
    const { hostId } = this.#world.identity;
    const others = this.#plane.hosts.records.filter((record) => record.hostId !== hostId);
    const asked = others.map(({ hostId: other, name }) =>
      this.#answers.of(name, "host.part", async () => {
        const options = { deadlineMs: ASK_MS };
        const { result } = await this.#plane.links.call(other, "host.part", null, options);
        return hostPartOf(result, this.#part());
      }),
    );
    const answers = await Promise.all(asked);
    return answers.filter((part) => part !== undefined);
  }

  async #view(record: ObjectRecord, parts: readonly HostPart[]): Promise<VolumeView> {
    const sequences = new Map(parts.flatMap((part) => part.sequences));
    const owners = parts.flatMap((part) => part.owners);
    const ownerState = owners.find((one) => {
      return one.objectId === record.objectId && one.epoch === record.epoch;
    });
    return volumeView(record, {
      nameOf: (hostId) => this.#plane.hosts.nameOf(hostId),
      isReachable: (hostId) => this.#plane.hosts.isReachable(hostId),
      ownerState,
      attachment: await this.#attachments.viewAnywhere(record.objectId, this.#plane.hosts),
      logicalBytes: largest(parts, record.objectId),
      sequenceOf: (componentId) => sequences.get(componentId),
    });
  }
}

/** Every copy holds the same; a stale one may hold less. */
function largest(parts: readonly HostPart[], objectId: string): number | undefined {
  const all = parts.flatMap((part) => part.logicalBytes.filter(([id]) => id === objectId));
  return all.length === 0 ? undefined : Math.max(...all.map(([, bytes]) => bytes));
}

function addStats(all: readonly StatsView[]): StatsView {
  const sum = (pick: (stats: StatsView) => number): number =>
    all.reduce((total, stats) => total + pick(stats), 0);
  const counts = (
    pick: (stats: StatsView) => Readonly<Record<string, number>>,
  ): Record<string, number> => addUp(all.map(pick));
  const traffic = (pick: (stats: StatsView) => TrafficView): TrafficView => ({
    bytesNeeded: sum((stats) => pick(stats).bytesNeeded),
    bytesSent: sum((stats) => pick(stats).bytesSent),
    bytesSkipped: sum((stats) => pick(stats).bytesSkipped),
    metadataBytes: sum((stats) => pick(stats).metadataBytes ?? 0),
  });
  const logicalBytes = sum((stats) => stats.logicalBytes);
  const uniqueBytes = sum((stats) => stats.uniqueBytes);
  return {
    logicalBytes,
    uniqueBytes,
    physicalBytes: sum((stats) => stats.physicalBytes),
    capacityBytes: sum((stats) => stats.capacityBytes),
    freeBytes: sum((stats) => stats.freeBytes),
    reclaimableBytes: sum((stats) => stats.reclaimableBytes),
    dedupRatio: uniqueBytes === 0 ? 1 : logicalBytes / uniqueBytes,
    cache: addCaches(all.map((stats) => stats.cache)),
    caches: all.flatMap((stats) => stats.caches),
    journal: counts((stats) => stats.journal),
    destage: counts((stats) => stats.destage),
    sharedMemory: counts((stats) => stats.sharedMemory),
    farCache: counts((stats) => stats.farCache),
    memory: counts((stats) => stats.memory),
    rebuild: traffic((stats) => stats.rebuild),
    catchUp: traffic((stats) => stats.catchUp),
    scrub: counts((stats) => stats.scrub),
    volumes: [],
    latencyBoundsMs: LATENCY_BOUNDS_MS,
  };
}

function isUsers({ name, snapshot }: ObjectRecord): boolean {
  return !isNamespaceName(name) && snapshot === undefined;
}
