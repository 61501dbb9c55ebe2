/**
 * Devices, volumes and NBD listeners of one host, as methods that any thread may hold: it knows
 * ports only. Operations on one volume run one after the other; each leaves directory and devices
 * in agreement, or an intent from which the next start restores it.
 */
import { BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import {
  checkVolumeGrowth,
  checkVolumeName,
  checkVolumeSize,
  component,
  createVolumeRecord,
  deleteVolumeRecord,
  findObject,
  findVolume,
  growVolumeRecord,
  listVolumes,
  releaseOwnerships,
} from "../cluster/index.ts";
import type { ObjectRecord, StoredObject } from "../cluster/index.ts";
import { ObjectOwner } from "../object/index.ts";
import type { OwnerWorld } from "../object/index.ts";
import { attached } from "./attachment-records.ts";
import { Attachments } from "./attachments.ts";
import { dropIntent, listIntents, putIntent } from "./component-intents.ts";
import type { DataPlaneMethods, OpenDeviceRequest, RecoverReport } from "./data-plane-port.ts";
import { DeviceSet } from "./device-set.ts";
import type { OpenedDevice } from "./device-opener.ts";
import { KeyedSerial } from "./keyed-serial.ts";
import { nearest } from "./nearest.ts";
import type { PlaneWorld } from "./plane-world.ts";
import type {
  AttachmentView,
  DeviceView,
  ScrubView,
  StatsView,
  VolumeAttachRequest,
  VolumeCreateRequest,
  VolumeResizeRequest,
  VolumeView,
} from "./views.ts";
import { volumeView } from "./volume-view.ts";

export class DataPlane implements DataPlaneMethods {
  readonly #world: PlaneWorld;
  readonly #devices: DeviceSet;
  readonly #attachments: Attachments;
  readonly #serial = new KeyedSerial();
  #isClosing = false;

  constructor(world: PlaneWorld) {
    this.#world = world;
    this.#devices = new DeviceSet(world, (objectId) => this.#attachments.volumeName(objectId));
    this.#attachments = new Attachments(world, this.#ownerWorld());
  }

  openDevice(request: OpenDeviceRequest): Promise<DeviceView> {
    return this.#devices.open(request);
  }

  async recover(): Promise<RecoverReport> {
    const { directory, identity } = this.#world;
    await releaseOwnerships(directory, identity.clusterId, identity.hostId);
    for (const { componentId, objectId } of await listIntents(directory, identity.clusterId)) {
      const stored = await findObject(directory, identity.clusterId, objectId);
      const isWanted = stored?.record.components.some((one) => one.componentId === componentId);
      if (isWanted !== true) await this.#deleteComponent(componentId);
      await dropIntent(directory, identity.clusterId, componentId);
    }
    const report = await this.#attachments.restore();
    await this.#settle();
    return report;
  }

  /**
   * Owns every object that still has an undecided tail for a moment, because nobody is attached to
   * it: what the journal holds of it would keep everybody else's writes from leaving the journal.
   */
  async #settle(): Promise<void> {
    for (const objectId of this.#devices.undecidedObjects()) {
      try {
        const owner = await ObjectOwner.take(this.#ownerWorld(), objectId, false);
        await owner.close();
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

  async listDevices(): Promise<readonly DeviceView[]> {
    return this.#devices.views();
  }

  scrubDevice(device: string): Promise<ScrubView> {
    return this.#devices.scrub(device);
  }

  async createVolume(request: VolumeCreateRequest): Promise<VolumeView> {
    checkVolumeName(request.name);
    checkVolumeSize(request.sizeBytes);
    checkPolicy(request);
    return await this.#exclusive(request.name, async () => {
      const { directory, identity, newId } = this.#world;
      await this.#requireVacant(request.name);
      const opened = this.#devices.roomiest();
      const objectId = newId();
      const componentId = newId();
      await putIntent(directory, identity.clusterId, { componentId, objectId });
      const sizeBytes = wholeBlocks(request.sizeBytes) * BLOCK_SIZE_BYTES;
      await opened.device.createComponent({ componentId, objectId, sizeBytes });
      const record = await this.#createRecord(request, objectId, componentId, opened);
      await dropIntent(directory, identity.clusterId, componentId);
      this.#event("volume-created", `volume ${request.name} was created`, request.name);
      return this.#view(record);
    });
  }

  async listVolumes(): Promise<readonly VolumeView[]> {
    const { directory, identity } = this.#world;
    const records = await listVolumes(directory, identity.clusterId);
    const logicalBytes = this.#devices.logicalBytes();
    return records.map((record) => this.#view(record, logicalBytes));
  }

  async showVolume(name: string): Promise<VolumeView> {
    return this.#view((await this.#find(name)).record);
  }

  async resizeVolume({ name, sizeBytes }: VolumeResizeRequest): Promise<VolumeView> {
    return await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      checkVolumeGrowth(record, sizeBytes);
      const owner = this.#attachments.owner(record.objectId);
      if (owner !== undefined) {
        await owner.resize(sizeBytes);
      } else {
        const { directory, identity } = this.#world;
        for (const { componentId } of record.components) {
          await this.#growComponent(componentId, wholeBlocks(sizeBytes));
        }
        await growVolumeRecord(directory, identity.clusterId, name, sizeBytes);
      }
      this.#event("volume-resized", `volume ${name} has ${sizeBytes} bytes now`, name);
      return this.#view((await this.#find(name)).record);
    });
  }

  async deleteVolume(name: string): Promise<void> {
    await this.#exclusive(name, async () => {
      const { directory, identity } = this.#world;
      const { record } = await this.#find(name);
      const attachment = this.#attachments.view(record.objectId);
      if (attachment !== undefined) throw attached(name, attachment.address);
      const { objectId } = record;
      for (const { componentId } of record.components) {
        await putIntent(directory, identity.clusterId, { componentId, objectId });
      }
      await deleteVolumeRecord(directory, identity.clusterId, name);
      for (const { componentId } of record.components) {
        await this.#deleteComponent(componentId);
        await dropIntent(directory, identity.clusterId, componentId);
      }
      this.#event("volume-deleted", `volume ${name} was deleted`, name);
    });
  }

  async attach(request: VolumeAttachRequest): Promise<AttachmentView> {
    return await this.#exclusive(request.name, async () => {
      const { record } = await this.#find(request.name);
      return await this.#attachments.attach(record, request);
    });
  }

  async detach(name: string): Promise<void> {
    await this.#exclusive(name, async () => {
      const { record } = await this.#find(name);
      await this.#attachments.detach(record);
    });
  }

  async stats(): Promise<StatsView> {
    const volumes = (await this.listVolumes()).map(({ name, sizeBytes, logicalBytes }) => ({
      name,
      sizeBytes,
      ...(logicalBytes === undefined ? {} : { logicalBytes }),
    }));
    return this.#devices.stats(volumes);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#serial.idle();
    await this.#attachments.close();
    await this.#devices.close();
  }

  #ownerWorld(): OwnerWorld {
    const { directory, identity, log } = this.#world;
    return {
      directory,
      clusterId: identity.clusterId,
      hostId: identity.hostId,
      log,
      clock: this.#world.clock,
      allocate: (lengthBytes) => this.#devices.allocate(lengthBytes),
      components: (componentId) => this.#devices.component(componentId),
      isNear: (componentId) => this.#devices.component(componentId) !== undefined,
      catchUp: this.#devices.catchUp,
      addEvent: (event) => this.#world.addEvent(event),
      growComponent: (componentId, blockCount) => this.#growComponent(componentId, blockCount),
      // The embedded directory has this one host, so nobody can take its place.
      isLeaseAlive: () => true,
      isHostAlive: async () => false,
    };
  }

  async #createRecord(
    request: VolumeCreateRequest,
    objectId: string,
    componentId: string,
    opened: OpenedDevice,
  ): Promise<ObjectRecord> {
    const { directory, identity } = this.#world;
    try {
      return await createVolumeRecord(directory, identity.clusterId, {
        objectId,
        name: request.name,
        sizeBytes: request.sizeBytes,
        policy: { failuresToTolerate: 0, stripes: 1 },
        tree: component(componentId),
        placement: [{ componentId, hostId: identity.hostId, deviceId: opened.device.deviceId }],
      });
    } catch (error) {
      await this.#deleteComponent(componentId);
      await dropIntent(directory, identity.clusterId, componentId);
      throw error;
    }
  }

  async #growComponent(componentId: string, blockCount: number): Promise<void> {
    const opened = this.#devices.deviceOf(componentId);
    if (opened === undefined) throw missingComponent(componentId);
    await opened.device.resizeComponent(componentId, blockCount * BLOCK_SIZE_BYTES);
  }

  async #deleteComponent(componentId: string): Promise<void> {
    await this.#devices.deviceOf(componentId)?.device.deleteComponent(componentId);
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

  #view(
    record: ObjectRecord,
    logicalBytes: Map<string, number> = this.#devices.logicalBytes(),
  ): VolumeView {
    return volumeView(record, {
      hostId: this.#world.identity.hostId,
      hostName: this.#world.identity.hostName,
      ownerState: this.#attachments.ownerState(record.objectId),
      attachment: this.#attachments.view(record.objectId),
      logicalBytes: logicalBytes.get(record.objectId),
      sequenceOf: (componentId) => this.#devices.sequenceOf(componentId),
    });
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

function wholeBlocks(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
}

function checkPolicy({ failuresToTolerate, stripes }: VolumeCreateRequest): void {
  if ((failuresToTolerate ?? 0) === 0 && (stripes ?? 1) === 1) return;
  const what =
    (failuresToTolerate ?? 0) > 0
      ? `${failuresToTolerate} failures to tolerate need ${2 * failuresToTolerate! + 1} hosts`
      : `${stripes} stripes are not supported yet`;
  throw new CodedError({
    code: "policy-unsatisfiable",
    message: `${what}, and this cluster has one host`,
    hint: "Create it with --failures-to-tolerate 0 and --stripes 1, the defaults",
  });
}

function missingComponent(componentId: string): CodedError {
  return new CodedError({
    code: "object-inaccessible",
    message: `component ${componentId} is on none of this host's open devices`,
    hint: "drystone device list shows which devices are open",
  });
}
