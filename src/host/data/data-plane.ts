/**
 * Devices, volumes and NBD listeners of one host, as methods that any thread may hold: it knows
 * ports only. Operations on one volume run one after the other; each leaves directory and devices
 * in agreement, or an intent from which the next start restores it.
 */
import { CodedError, formatSize } from "../../base/index.ts";
import {
  checkVolumeGrowth,
  checkUserName,
  checkVolumeName,
  checkVolumeSize,
  findVolume,
  growVolumeRecord,
  listHosts,
  listVolumes,
  releaseOwnerships,
  requireVersion,
} from "../../cluster/index.ts";
import type { ObjectPolicy, StoredObject } from "../../cluster/index.ts";
import { decideUnused } from "../../object/index.ts";
import { HostPlane } from "../../plane/index.ts";
import type { NamespaceState } from "../../plane/index.ts";
import { attachmentViewShape } from "../volumes/attach-shapes.ts";
import { attached } from "../volumes/attachment-records.ts";
import { Attachments } from "../volumes/attachments.ts";
import { SnapshotRoom } from "../volumes/snapshot-room.ts";
import { ClusterViews } from "../peers/cluster-views.ts";
import type {
  DataPlaneMethods,
  OpenDeviceRequest,
  OwnAddresses,
  PeerView,
  RecoverReport,
  TakeOutRequest,
  OfferOfVm,
} from "./data-plane-port.ts";
import { DeviceSet } from "./device-set.ts";
import { SnapshotDesk } from "../volumes/snapshot-desk.ts";
import { checkEncryptionKept, checkWholeBlocks, encryptionOf } from "../keys/volume-encryption.ts";
import { KeyDesk } from "../keys/key-desk.ts";
import { KeyKeeper } from "../keys/key-keeper.ts";
import { KeyedSerial } from "./keyed-serial.ts";
import { formatAddress, parseAddress } from "../names.ts";
import { localDevices } from "./local-devices.ts";
import { nearest } from "../nearest.ts";
import { readAnswer } from "../peers/peer-answers.ts";
import type { PlaneWorld } from "./plane-world.ts";
import { VolumeMover } from "../volumes/volume-mover.ts";
import { VmHomes } from "../../plane/index.ts";
import type { VmObjects, VmPersistRequest, VmReachReport } from "../../plane/index.ts";
import type { ResyncView, ServicePlanView, VolumeSetRequest } from "../upkeep/repair-views.ts";
import { ServiceDesk } from "../upkeep/service-desk.ts";
import type {
  AttachmentView,
  DeviceView,
  ScrubView,
  StatsView,
  SeenHostView,
  VolumeAttachRequest,
  VolumeCreateRequest,
  VolumeResizeRequest,
  VolumeView,
} from "../api/views.ts";

const STRIPES_MAX = 12;
const FAILURES_MAX = 3;
/** Taking a volume may have to wait until another host's lease has ended. */
const FORWARD_MS = 60_000;

/** What the data plane's parts do themselves. */
type Others =
  | "ping"
  | "createSnapshot"
  | "listSnapshots"
  | "deleteSnapshot"
  | "rollBack"
  | "cloneVolume"
  | "volumeChanges"
  | "moveVolume"
  | "clusterKey"
  | "rotateClusterKey"
  | "listKeyDomains"
  | "destroyKeyDomain";

export class DataPlane implements Omit<DataPlaneMethods, Others> {
  readonly #world: PlaneWorld;
  readonly #devices: DeviceSet;
  readonly #plane: HostPlane;
  readonly #attachments: Attachments;
  readonly #views: ClusterViews;
  readonly snapshots: SnapshotDesk;
  readonly moves: VolumeMover;
  readonly keys: KeyDesk;
  readonly #keeper: KeyKeeper;
  readonly #homes: VmHomes;
  readonly #desk: ServiceDesk;
  readonly #serial = new KeyedSerial();
  #isClosing = false;

  constructor(world: PlaneWorld) {
    this.#world = world;
    this.#devices = new DeviceSet(world, (objectId) => this.#attachments.volumeName(objectId));
    const { identity } = world;
    this.#plane = new HostPlane({
      ...world,
      ...identity,
      devices: localDevices(this.#devices),
      farBytes: identity.memory.farBytes,
      latencies: () => this.#attachments.latencies(),
      parseAddress,
      formatAddress,
    });
    this.#keeper = new KeyKeeper({ ...world, ...identity });
    this.keys = new KeyDesk(world, this.#plane, this.#keeper);
    const reasonAgainst = (): string | undefined => this.#keeper.reasonAgainst();
    this.#homes = new VmHomes(this.#plane, reasonAgainst);
    this.#attachments = new Attachments(world, this.#plane, this.#keeper);
    this.#views = new ClusterViews(world, this.#plane, this.#devices, this.#attachments);
    this.snapshots = new SnapshotDesk({
      world,
      plane: this.#plane,
      attachments: this.#attachments,
      views: this.#views,
      room: new SnapshotRoom(this.#plane, this.#devices, world),
      exclusive: (name, task) => this.#exclusive(name, task),
    });
    const { links, hosts } = this.#plane;
    this.moves = new VolumeMover({
      ...{ links, hosts },
      hostId: identity.hostId,
      attachments: this.#attachments,
      find: async (name) => (await this.#find(name)).record,
      exclusive: (name, task) => this.#exclusive(name, task),
    });
    this.#desk = new ServiceDesk(world, this.#plane, this.#views);
    this.#plane.links.handle("volume.attach", async ({ argument }) => ({
      result: await this.attach(attachRequest(argument)),
    }));
    this.#plane.links.handle("volume.detach", async ({ argument }) => {
      await this.detach(String(argument));
      return { result: null };
    });
  }

  async join({ api, managementLink }: OwnAddresses): Promise<void> {
    const { storageAddress } = this.#world.identity;
    const address = storageAddress === undefined ? undefined : parseAddress(storageAddress);
    await this.#plane.start(api, address, managementLink);
  }

  async listHosts(): Promise<readonly PeerView[]> {
    return this.#views.hosts();
  }

  openDevice(request: OpenDeviceRequest): Promise<DeviceView> {
    return this.#devices.open(request);
  }

  /** The cluster places components there from now on. */
  async addDevice(request: OpenDeviceRequest): Promise<DeviceView> {
    const view = await this.#devices.add(request);
    await this.#plane.announceDevices();
    const { deviceId, path } = view;
    const message = `device ${deviceId} at ${path} was added`;
    this.#world.addEvent({
      level: "info",
      kind: "device-added",
      message,
      details: { deviceId, path },
    });
    return view;
  }

  async recover(): Promise<RecoverReport> {
    const { directory, identity } = this.#world;
    await releaseOwnerships(directory, identity.clusterId, identity.hostId);
    await this.#plane.settleIntents();
    await this.keys.catchUp();
    const report = await this.#attachments.restore();
    await this.#settle();
    return report;
  }

  /**
   * Decides the tail of every object that nobody is attached to: what the journal holds of it would
   * keep everybody else's writes from leaving the journal.
   */
  async #settle(): Promise<void> {
    for (const objectId of this.#devices.undecidedObjects()) {
      try {
        await decideUnused(this.#plane.ownerWorld(), objectId);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        this.#world.addEvent({
          level: "warning",
          kind: "object-unsettled",
          message: `the last writes of an object could not be settled: ${error.message}`,
          details: { objectId },
        });
      }
    }
  }

  askSeen(hostId: string): Promise<readonly SeenHostView[]> {
    return this.#views.askSeen(hostId);
  }

  listDevices(): Promise<readonly DeviceView[]> {
    return this.#views.devices();
  }

  /** On the host that has it. */
  listResyncs(): Promise<readonly ResyncView[]> {
    return this.#desk.resyncs();
  }

  takeOut(request: TakeOutRequest): Promise<ServicePlanView> {
    return this.#desk.takeOut(request);
  }

  scrubDevice(device: string): Promise<ScrubView> {
    return this.#views.scrub(device);
  }

  async createVolume(request: VolumeCreateRequest): Promise<VolumeView> {
    checkVolumeName(request.name);
    checkVolumeSize(request.sizeBytes);
    const policy = policyOf({
      ...request,
      failuresToTolerate: request.failuresToTolerate ?? (await this.#defaultFailures()),
    });
    return await this.#exclusive(request.name, async () => {
      await this.#requireVacant(request.name);
      const { name, sizeBytes } = request;
      const { directory, identity } = this.#world;
      if (request.encrypted === true)
        await requireVersion(directory, identity.clusterId, "encryption");
      const encryption = await encryptionOf(request, this.#keeper);
      const record = await this.#plane.createVolume({ name, sizeBytes, policy, ...encryption });
      this.#event("volume-created", `volume ${request.name} was created`, request.name);
      return await this.#views.volume(record);
    });
  }

  /**
   * Who has several hosts has them so that the loss of one is survived: less has to be asked for.
   */
  async #defaultFailures(): Promise<number> {
    const { directory, identity } = this.#world;
    const hosts = await listHosts(directory, identity.clusterId);
    return hosts.length > 1 ? 1 : 0;
  }

  listVolumes(): Promise<readonly VolumeView[]> {
    return this.#views.volumes();
  }

  async showVolume(name: string): Promise<VolumeView> {
    return await this.#views.volume((await this.#find(name)).record);
  }

  async resizeVolume({ name, sizeBytes }: VolumeResizeRequest): Promise<VolumeView> {
    return await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      checkVolumeName(name);
      checkVolumeGrowth(record, sizeBytes);
      if (record.encryption !== undefined) checkWholeBlocks(sizeBytes);
      const owner = this.#attachments.owner(record.objectId);
      if (owner !== undefined) {
        await owner.resize(sizeBytes);
        this.#attachments.resized(record.objectId);
      } else {
        const { directory, identity } = this.#world;
        await this.#plane.growComponents(record, sizeBytes);
        await growVolumeRecord(directory, identity.clusterId, name, sizeBytes);
      }
      this.#event("volume-resized", `volume ${name} has ${formatSize(sizeBytes)} now`, name);
      return await this.#views.volume((await this.#find(name)).record);
    });
  }

  /** Begins it; whoever owns the volume brings it about. */
  async setPolicy(request: VolumeSetRequest): Promise<VolumeView> {
    const { name } = request;
    return await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      checkEncryptionKept(record, request);
      const before = record.change?.policy ?? record.policy;
      const policy = policyOf({ ...before, ...request });
      return await this.#views.volume(await this.#plane.policies.begin(name, policy));
    });
  }

  async deleteVolume(name: string): Promise<void> {
    await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      const attachment = await this.#attachments.find(record.objectId);
      if (attachment !== undefined) throw attached(name, attachment.nbd);
      await this.snapshots.requireNone(name);
      await this.#plane.deleteVolume(name);
      this.#event("volume-deleted", `volume ${name} was deleted`, name);
    });
  }

  /** Here, or on the host that the request names. */
  async attach(request: VolumeAttachRequest): Promise<AttachmentView> {
    const { host, ...rest } = request;
    const target = host === undefined ? undefined : this.#plane.hosts.find(host);
    if (target !== undefined && target.hostId !== this.#world.identity.hostId) {
      const options = { deadlineMs: FORWARD_MS };
      const answer = await this.#plane.links.call(target.hostId, "volume.attach", rest, options);
      return readAnswer(attachmentViewShape, answer.result, "host-unreachable");
    }
    return await this.#exclusive(request.name, async () => {
      const { record } = await this.#find(request.name);
      return await this.#attachments.attach(record, request);
    });
  }

  async detach(name: string): Promise<void> {
    const { record: wanted } = await this.#find(name);
    const found = await this.#attachments.find(wanted.objectId);
    if (found !== undefined && found.hostId !== this.#world.identity.hostId) {
      if (this.#plane.hosts.isReachable(found.hostId)) {
        const options = { deadlineMs: FORWARD_MS };
        await this.#plane.links.call(found.hostId, "volume.detach", name, options);
        return;
      }
    }
    await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      await this.#attachments.detach(record);
    });
  }

  /** Leaves it to another host that offers it by now. */
  async detachOf({ name, sockets }: OfferOfVm): Promise<void> {
    await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      await this.#attachments.detach(record, sockets);
    });
  }

  async expect(request: VolumeAttachRequest): Promise<void> {
    await this.#exclusive(request.name, async () => {
      const { record } = await this.#find(request.name);
      await this.#attachments.expect(record, request);
    });
  }

  async expectNoMore({ name, sockets }: OfferOfVm): Promise<void> {
    await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      await this.#attachments.expectNoMore(record.objectId, sockets);
    });
  }

  vmReach(vms: readonly VmObjects[]): Promise<VmReachReport> {
    return this.#homes.reach(vms);
  }

  vmPersist(request: VmPersistRequest): Promise<void> {
    return this.#homes.persist(request);
  }

  vmRetrieve(vms: readonly string[]): Promise<readonly NamespaceState[]> {
    return this.#homes.retrieve(vms);
  }

  vmForget(vm: string): Promise<void> {
    return this.#homes.forget(vm);
  }

  nameOf(hostId: string): string {
    return this.#plane.hosts.nameOf(hostId);
  }

  stats(): Promise<StatsView> {
    return this.#views.stats();
  }

  async ownStats(): Promise<StatsView> {
    return this.#views.ownStats();
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#serial.idle();
    await this.#attachments.close();
    await this.#plane.close();
    await this.#devices.close();
  }

  /** So that a taken name is refused before a component is made for it. */
  async #requireVacant(name: string): Promise<void> {
    const { directory, identity } = this.#world;
    const volumes = await listVolumes(directory, identity.clusterId);
    if (volumes.every((volume) => volume.name !== name)) return;
    throw new CodedError({
      code: "volume-exists",
      message: `a volume named ${name} exists already`,
      hint: "Choose another name, or delete that volume first",
    });
  }

  async #find(name: string): Promise<StoredObject> {
    const { directory, identity } = this.#world;
    checkUserName(name);
    try {
      return await findVolume(directory, identity.clusterId, name);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "volume-not-found") throw error;
      const volumes = await listVolumes(directory, identity.clusterId);
      const meant = nearest(
        name,
        volumes.map((volume) => volume.name),
      );
      if (meant === undefined) throw error;
      throw new CodedError({ ...error.fault, hint: `Did you mean ${meant}?` }, { cause: error });
    }
  }

  #exclusive<T>(name: string, task: () => Promise<T>): Promise<T> {
    if (!this.#isClosing) return this.#serial.run(name, task);
    const message = "the host is stopping";
    return Promise.reject(
      new CodedError({ code: "stopping", message, hint: "Try again when it runs" }),
    );
  }

  #event(kind: string, message: string, volume: string): void {
    this.#world.addEvent({ level: "info", kind, message, details: { volume } });
  }
}

function policyOf(
  request: Pick<ObjectPolicy, "failuresToTolerate"> & Partial<ObjectPolicy>,
): ObjectPolicy {
  const { failuresToTolerate, stripes = 1 } = request;
  const isKnown = failuresToTolerate <= FAILURES_MAX && stripes >= 1 && stripes <= STRIPES_MAX;
  if (isKnown) return { failuresToTolerate, stripes };
  throw new CodedError({
    code: "policy-unsatisfiable",
    message: `${failuresToTolerate} failures to tolerate and ${stripes} stripes are more than any volume has`,
    hint: `Ask for up to ${FAILURES_MAX} failures to tolerate and 1 to ${STRIPES_MAX} stripes`,
  });
}

/** From another host: only what an attachment can be. */
function attachRequest(argument: unknown): VolumeAttachRequest {
  const said: Partial<Record<keyof VolumeAttachRequest, unknown>> =
    typeof argument === "object" && argument !== null ? argument : {};
  const { name, nbd, tls, plain, readOnly, vhostUser, vhostQueues, vhostOwner } = said;
  if (typeof name !== "string")
    throw new CodedError({ code: "request-invalid", message: "an attachment has no volume" });
  return {
    name,
    ...(typeof nbd === "string" ? { nbd } : {}),
    ...(tls === true ? { tls } : {}),
    ...(plain === true ? { plain } : {}),
    ...(readOnly === true ? { readOnly } : {}),
    ...(typeof vhostUser === "string" ? { vhostUser } : {}),
    ...(typeof vhostQueues === "number" ? { vhostQueues } : {}),
    ...(typeof vhostOwner === "string" ? { vhostOwner } : {}),
  };
}
