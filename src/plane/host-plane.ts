/**
 * One host's part in the cluster, over ports only: it serves its components to owners elsewhere,
 * reaches theirs, makes and removes components on whichever hosts a volume lies, holds the lease
 * under which it owns objects. Daemon, trials and browser build the same.
 */
import { BLOCK_SIZE_BYTES, CodedError, errorText, marks } from "../base/index.ts";
import {
  createVolumeRecord,
  deleteVolumeRecord,
  directoryKeys,
  DirectoryPulse,
  findVolume,
  listDevices,
  listVolumes,
  putHost,
  putIntent,
  volumeMirror,
} from "../cluster/index.ts";
import type { DirectoryMirror, ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import type { ServiceRecord, StoredIntent } from "../cluster/index.ts";
import type { VolumeEncryption } from "../cluster/index.ts";
import { Links } from "../link/index.ts";
import {
  noTraffic,
  ObjectLayout,
  ScratchBlocks,
  sizesOf,
  TransferMemory,
} from "../object/index.ts";
import type { NewPlace, ObjectOwner, OwnerWorld, ResyncTraffic } from "../object/index.ts";
import type { NetworkAddress, Timer } from "../ports/index.ts";
import type { Component } from "../store/index.ts";
import { VolumeForks } from "./volume-forks.ts";
import type { ForkRequest } from "./volume-forks.ts";
import { ClusterHosts } from "./cluster-hosts.ts";
import { allEnded, ComponentMaker, isOutcomeUnknown } from "./component-maker.ts";
import { ComponentServer } from "./component-server.ts";
import { DeviceRegister } from "./device-register.ts";
import { leaseEvent, reachedEvent } from "./host-events.ts";
import { HostLease } from "./host-lease.ts";
import type { HostPlaneWorld } from "./host-plane-world.ts";
import { KeptMemory } from "./kept-memory.ts";
import { NamespaceObjects } from "./namespace-objects.ts";
import { placeVolume } from "./placement.ts";
import { ContentLikeness } from "./content-likeness.ts";
import type { PlacedComponent, Placement } from "./placement.ts";
import { Ownerships } from "./ownerships.ts";
import { PolicyChanges } from "./policy-changes.ts";
import { RepairBoard } from "./repair-board.ts";
import { RepairOccasions } from "./repair-occasions.ts";
import { RepairPatrol } from "./repair-patrol.ts";
import { RebuildSpeed } from "./rebuild-speed.ts";
import { RepairPolicy } from "./repair-policy.ts";
import { AdaptivePace } from "./resync-pace.ts";
import { planService } from "./service-plan.ts";
import type { ServicePlan } from "./service-plan.ts";
import { ScrubDuty } from "./scrub-duty.ts";
import { StoredBytes } from "./stored-bytes.ts";
import { RemoteComponents } from "./remote-component.ts";

const REFRESH_MS = 5000;
/** What is under way there is answered first. */
const LEAVE_MS = 20_000;

export interface NewClusterVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly policy: ObjectPolicy;
  readonly encryption?: VolumeEncryption;
}

export class HostPlane {
  readonly links: Links;
  readonly hosts: ClusterHosts;
  readonly catchUp: ResyncTraffic = noTraffic();
  readonly rebuild: ResyncTraffic = noTraffic();
  readonly #world: HostPlaneWorld;
  readonly #transferMemory: TransferMemory;
  readonly #scratch: ScratchBlocks;
  readonly #remote: RemoteComponents;
  readonly kept: KeptMemory;
  readonly #lease: HostLease;
  readonly #register: DeviceRegister;
  readonly #maker: ComponentMaker;
  readonly namespaces: NamespaceObjects;
  readonly policies: PolicyChanges;
  readonly #repairs: RepairPolicy;
  readonly #patrol: RepairPatrol;
  readonly #board: RepairBoard;
  /** Of all volumes, for whoever looks often. */
  readonly objects: DirectoryMirror<ObjectRecord>;
  readonly #pace: AdaptivePace | undefined;
  readonly #speed: RebuildSpeed;
  readonly scrub: ScrubDuty;
  readonly #ownerships = new Ownerships();
  #isInCluster = false;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(world: HostPlaneWorld) {
    this.#world = world;
    this.#transferMemory = new TransferMemory(world.devices.allocate);
    this.#scratch = new ScratchBlocks(world.devices.allocate);
    const { clock, log, network, directory, clusterId, hostId, incarnation, devices } = world;
    const identity = { clusterId, hostId, incarnation, network: "storage" } as const;
    this.links = new Links({ network, clock, log }, identity, world.speaks);
    this.#speed = new RebuildSpeed({ links: this.links, clock });
    this.#remote = new RemoteComponents(this.links, clock, world.farBytes);
    const server = new ComponentServer(this.links, devices);
    this.kept = new KeptMemory(this.links, this.#remote, server, this.#transferMemory);
    const { parseAddress, latencies } = world;
    this.hosts = new ClusterHosts({
      ...{ directory, clusterId, hostId, clock, log, links: this.links, parseAddress },
      addressOf: (record) => record.storageAddress,
      elsewhere: world.elsewhere,
    });
    this.#lease = new HostLease({
      directory,
      clock,
      log,
      hostId,
      key: directoryKeys.alive(clusterId, hostId),
      incarnation,
      onChange: (isAlive, reason) => world.addEvent(leaseEvent(hostId, isAlive, reason)),
    });
    this.#register = new DeviceRegister({
      directory,
      clusterId,
      hostId,
      hostName: world.hostName,
      devices: devices.list,
      removeForgotten: (deviceId) => this.#maker.removeForgotten(deviceId),
      distrust: devices.distrust,
      addEvent: world.addEvent,
    });
    this.#pace = latencies && new AdaptivePace({ clock, latencies });
    const { links, hosts } = this;
    const stored = new StoredBytes({ links, clock, devices });
    this.#maker = new ComponentMaker({ links, devices, directory, clusterId, hostId, log, clock });
    const pulse = new DirectoryPulse(directory, clock, directoryKeys.objects(clusterId));
    this.objects = volumeMirror(directory, clusterId, clock, pulse);
    const { objects } = this;
    const board = new RepairBoard({ directory, clusterId, clock, pulse, hosts, objects, stored });
    this.#board = board;
    this.#repairs = this.#repairPolicy();
    this.policies = this.#policyChanges();
    this.scrub = this.#scrubDuty();
    this.#patrol = new RepairPatrol({
      ...{ clock, log, hostId, board },
      policy: this.#repairs,
      ownerWorld: () => this.ownerWorld(),
      isLeaseAlive: () => this.isLeaseAlive(),
      isHostAlive: (other) => this.#isHostAlive(other),
      undecided: () => devices.undecided(),
      settleRemovals: () => this.#maker.settleRemovals(),
      ownerships: this.#ownerships,
      occasions: (listener) =>
        new RepairOccasions({ directory, clusterId, clock, log, objects }, listener),
    });
    links.handle("repair.leave", async ({ argument }) => ({
      result: await this.#patrol.leave(String(argument)),
    }));
    this.namespaces = new NamespaceObjects({
      ownerWorld: () => this.ownerWorld(),
      create: (volume) => this.createVolume(volume),
      remove: (name) => this.deleteVolume(name),
    });
    this.links.onChange((other, isUp, reason) => this.#hostChanged(other, isUp, reason));
  }

  #repairPolicy(): RepairPolicy {
    const { devices, hostId, newId } = this.#world;
    const likeness = new ContentLikeness({
      links: this.links,
      hostId,
      devices,
      components: (componentId, where) => this.component(componentId, where),
    });
    return new RepairPolicy({ board: this.#board, maker: this.#maker, likeness, newId });
  }

  #scrubDuty(): ScrubDuty {
    const { clock, log, directory, clusterId, hostId, devices, addEvent } = this.#world;
    const { scrubTimesSooner } = this.#world;
    return new ScrubDuty({
      clock,
      log,
      directory,
      clusterId,
      hostId,
      links: this.links,
      board: this.#board,
      pace: this.#pace,
      deviceIds: () =>
        devices
          .list()
          .filter(({ hasFailed }) => hasFailed !== true)
          .map(({ deviceId }) => deviceId),
      readThrough: (deviceId) => devices.readThrough?.(deviceId),
      owned: () => this.#ownerships.owned(),
      ownerWorld: () => this.ownerWorld(),
      isLeaseAlive: () => this.isLeaseAlive(),
      addEvent,
      timesSooner: scrubTimesSooner,
    });
  }

  #policyChanges(): PolicyChanges {
    const { directory, clusterId, newId, addEvent } = this.#world;
    return new PolicyChanges({
      directory,
      clusterId,
      board: this.#board,
      maker: this.#maker,
      newId,
      addEvent,
      makeComponent: (place, objectId, blockCount) => this.#makeNew(place, objectId, blockCount),
    });
  }

  /**
   * Joins the cluster. Without a storage address the host stays alone: nobody reaches it and it
   * reaches nobody, so that it needs no lease.
   */
  async start(
    managementAddress: string,
    storageAddress: NetworkAddress | undefined,
    managementLinkAddress = "",
  ): Promise<void> {
    const { directory, clusterId, hostId, hostName, faultDomain, formatAddress } = this.#world;
    const { clusterVersion, programVersion } = this.#world;
    let address = "";
    // Nothing is served before it is known which devices are what they should be.
    await this.#register.admit();
    if (storageAddress !== undefined) {
      address = formatAddress(await this.links.listen(storageAddress));
      this.#isInCluster = true;
      await this.#lease.start();
    }
    await putHost(directory, clusterId, {
      hostId,
      name: hostName,
      managementAddress,
      storageAddress: address,
      managementLinkAddress,
      faultDomain,
      ...(clusterVersion === undefined ? {} : { clusterVersion }),
      ...(programVersion === undefined ? {} : { programVersion }),
    });
    await this.hosts.start();
    this.#refreshLater();
    if (this.#isInCluster) this.#patrol.start();
    this.scrub.start();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.scrub.close();
    await this.#patrol.close();
    this.hosts.close();
    this.objects.close();
    this.#board.close();
    await this.links.close();
    if (this.#isInCluster) await this.#lease.close();
  }

  /** Devices may have come. */
  async announceDevices(): Promise<void> {
    await this.#register.refresh();
  }

  /** Whether nobody can have taken this host's objects over. */
  isLeaseAlive(): boolean {
    return !this.#isInCluster || this.#lease.isAlive();
  }

  /** The same of what is taken from now on, for as long as it is had. */
  #leaseOfThisTerm(): () => boolean {
    const { term } = this.#lease;
    return () => {
      if (!this.#isInCluster || !this.#lease.isAlive()) return !this.#isInCluster;
      if (this.#lease.term !== term) marks.hit("a new lease brought back nothing of before");
      return this.#lease.term === term;
    };
  }

  /** Why the directory does not renew the lease, if it does not. */
  get directoryTrouble(): string | undefined {
    return this.#lease.trouble;
  }

  component(componentId: string, hostId: string): Component | undefined {
    const { devices, hostId: own } = this.#world;
    if (hostId === own) return devices.component(componentId);
    return this.hosts.isReachable(hostId) ? this.#remote.component(componentId, hostId) : undefined;
  }

  ownerWorld(): OwnerWorld {
    const { directory, clusterId, hostId, log, clock, devices, rules } = this.#world;
    return {
      ...{ directory, clusterId, hostId, log, clock },
      nameOf: (id) => this.hosts.nameOf(id),
      allocate: devices.allocate,
      transferMemory: this.#transferMemory,
      scratch: this.#scratch,
      components: (componentId, where) => this.component(componentId, where),
      isNear: (componentId) => devices.component(componentId) !== undefined,
      catchUp: this.catchUp,
      addEvent: (event) => this.#world.addEvent(event),
      growComponent: (componentId, blockCount, where) =>
        this.#maker.grow(componentId, blockCount, where),
      replacing: {
        isGivenUp: (record, componentId) => this.#repairs.isGivenUp(record, componentId),
        isLeaving: (record, componentId) => this.#repairs.isLeaving(record, componentId),
        placeFor: (record, id, avoided) => this.#repairs.placeFor(record, id, avoided),
        mayChange: (record) => this.policies.mayChange(record),
        makeComponent: (place, objectId, blockCount) => this.#makeNew(place, objectId, blockCount),
        removeComponent: (componentId, where) => this.#maker.remove(componentId, where),
        traffic: this.rebuild,
        onMade: (went) => this.#speed.made(went),
      },
      onTaking: (objectId) => this.#ownerships.taking(objectId),
      onTaken: (owned) => this.#ownerships.taken(owned),
      isLeaseAlive: this.#leaseOfThisTerm(),
      isHostAlive: (other) => this.#isHostAlive(other),
      askToLeave: (other, objectId) => this.#askToLeave(other, objectId),
      ...(this.#pace === undefined ? {} : { pace: this.#pace }),
      offersFingerprints: () => this.#board.settings?.offersFingerprints !== false,
      ...(rules === undefined ? {} : { rules }),
    };
  }

  /** Fails with `policy-unsatisfiable`, or as the hosts of its components do. */
  async createVolume(volume: NewClusterVolume): Promise<ObjectRecord> {
    const { directory, clusterId, newId } = this.#world;
    const { tree, placement } = await this.#place(volume.policy);
    const objectId = newId();
    const intents: StoredIntent[] = [];
    for (const { componentId, hostId } of placement)
      intents.push(await putIntent(directory, clusterId, { componentId, objectId, hostId }));
    try {
      const blocks = Math.ceil(volume.sizeBytes / BLOCK_SIZE_BYTES);
      const sizes = new ObjectLayout(tree).componentSizes(blocks);
      await allEnded(
        placement.map(async (placed) => {
          const sizeBytes = (sizes.get(placed.componentId) ?? 0) * BLOCK_SIZE_BYTES;
          await this.#maker.make({ ...placed, objectId, sizeBytes }, placed.hostId);
        }),
      );
      const record = { ...volume, objectId, tree, placement };
      return await createVolumeRecord(directory, clusterId, record, intents);
    } catch (error) {
      if (!isOutcomeUnknown(error)) await this.#undo(placement);
      throw error;
    }
  }

  /** An object that begins as one that this host owns. Fails as its components' devices do. */
  async forkVolume(owner: ObjectOwner, request: ForkRequest): Promise<ObjectRecord> {
    const { directory, clusterId, clock, newId } = this.#world;
    const maker = this.#maker;
    return await new VolumeForks({ directory, clusterId, clock, newId, maker }).fork(
      owner,
      request,
    );
  }

  /** Components of an object whose record is gone. */
  async removeComponents(record: ObjectRecord): Promise<void> {
    await this.#undo(record.components);
  }

  async #place(policy: ObjectPolicy): Promise<Placement> {
    const { directory, clusterId, newId } = this.#world;
    const view = await this.#board.fresh();
    const devices = (await listDevices(directory, clusterId))
      .map(({ record }) => record)
      .filter((device) => device.state === "online" && view.isInService(device));
    const reachable = this.hosts.records.filter(({ hostId }) => this.hosts.isReachable(hostId));
    return placeVolume(policy, reachable, devices, newId);
  }

  /** Components that no record names; those out of reach are removed when they are back. */
  async #undo(placement: readonly PlacedComponent[]): Promise<void> {
    for (const { componentId, hostId } of placement)
      await this.#maker.removeOrLeave(componentId, hostId);
  }

  /** Fails with `volume-not-found` or `volume-in-use`. */
  async deleteVolume(name: string): Promise<void> {
    const { directory, clusterId } = this.#world;
    await this.leaveRepair(name);
    await this.removeComponents(await deleteVolumeRecord(directory, clusterId, name));
  }

  /** As `RebuildSpeed.bytesPerSecond`. */
  rebuildBytesPerSecond(): Promise<number | undefined> {
    return this.#speed.bytesPerSecond();
  }

  /** What happens, or would, when a host or a device leaves. */
  async planService(service: ServiceRecord): Promise<ServicePlan> {
    const view = await this.#board.withStored(this.#board.fresh());
    return planService(view, await this.volumes(), service);
  }

  /** Hosts and devices that are being taken out of service. */
  async services(): Promise<readonly ServiceRecord[]> {
    return (await this.#board.view()).services;
  }

  /** Owners of objects that are on this host for their repair alone. */
  repairOwners(): readonly ObjectOwner[] {
    return this.#patrol.owners();
  }

  /** A host that has a volume for its repair alone gives it back. */
  async leaveRepair(name: string): Promise<void> {
    const { directory, clusterId } = this.#world;
    const { record } = await findVolume(directory, clusterId, name);
    if (record.owner !== undefined) await this.#askToLeave(record.owner, record.objectId);
  }

  async #askToLeave(other: string, objectId: string): Promise<boolean> {
    if (other === this.#world.hostId) return await this.#patrol.leave(objectId);
    try {
      const options = { deadlineMs: LEAVE_MS };
      const { result } = await this.links.call(other, "repair.leave", objectId, options);
      return result === true;
    } catch (error) {
      // It may be there for more than that, or away: its lease tells.
      if (error instanceof CodedError) return false;
      throw error;
    }
  }

  /** Grows the components of a volume that nobody owns. */
  async growComponents(record: ObjectRecord, sizeBytes: number): Promise<void> {
    await this.leaveRepair(record.name);
    for (const [{ componentId, hostId }, blockCount] of sizesOf(record, sizeBytes))
      await this.#maker.grow(componentId, blockCount, hostId);
  }

  /** As `ComponentMaker.settleIntents`. */
  async settleIntents(): Promise<void> {
    await this.#maker.settleIntents();
  }

  /** All volumes, and of those that a living host owns what that owner knows. */
  async volumes(): Promise<readonly ObjectRecord[]> {
    return await listVolumes(this.#world.directory, this.#world.clusterId);
  }

  async #makeNew(place: NewPlace, objectId: string, blockCount: number): Promise<void> {
    const { directory, clusterId } = this.#world;
    const { componentId, deviceId, hostId } = place;
    await putIntent(directory, clusterId, { componentId, objectId, hostId });
    const sizeBytes = blockCount * BLOCK_SIZE_BYTES;
    const component = { componentId, deviceId, objectId, sizeBytes, lacksAll: blockCount > 0 };
    await this.#maker.make(component, hostId);
  }

  async #isHostAlive(hostId: string): Promise<boolean> {
    return this.#isInCluster && (await this.hosts.isAlive(hostId));
  }

  /** Placement goes by the room that devices have. */
  #refreshLater(): void {
    if (this.#isClosed || !this.#isInCluster) return;
    this.#timer = this.#world.clock.after(REFRESH_MS, () => {
      this.#register
        .refresh()
        .catch((error: unknown) => {
          this.#world.log.write("warning", `devices are not announced: ${errorText(error)}`);
        })
        .finally(() => this.#refreshLater());
    });
  }

  #hostChanged(hostId: string, isUp: boolean, reason: string | undefined): void {
    this.#maker.linkChanged(hostId);
    if (isUp) this.#patrol.hostReached();
    else this.#patrol.wake();
    const name = this.hosts.nameOf(hostId);
    this.#world.addEvent(reachedEvent("storage", { hostId, name }, isUp, reason));
  }
}
