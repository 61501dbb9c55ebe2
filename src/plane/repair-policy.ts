/**
 * When a component is given up for good, and where it is made anew. A device that is lost does not
 * come back, nor does a component that its device does not have; whatever else is away may return.
 */
import { listDevices } from "../cluster/index.ts";
import type { DeviceRecord, ObjectRecord } from "../cluster/index.ts";
import type { NewPlace } from "../object/index.ts";
import type { Directory } from "../ports/index.ts";
import type { ClusterHosts } from "./cluster-hosts.ts";
import type { ComponentMaker } from "./component-maker.ts";
import { placeSuccessor } from "./successor-placement.ts";

export interface RepairPolicyWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hosts: ClusterHosts;
  readonly maker: ComponentMaker;
  readonly newId: () => string;
}

export class RepairPolicy {
  readonly #world: RepairPolicyWorld;

  constructor(world: RepairPolicyWorld) {
    this.#world = world;
  }

  /** As `Replacing.placeFor`. */
  async placeFor(record: ObjectRecord, componentId: string): Promise<NewPlace | undefined> {
    const { hosts, newId } = this.#world;
    const devices = await this.#devices();
    const place = placeSuccessor(record, componentId, hosts.records, devices, (hostId) =>
      hosts.isReachable(hostId),
    );
    return place && { ...place, componentId: newId() };
  }

  /** As `Replacing.isGivenUp`. */
  async isGivenUp(record: ObjectRecord, componentId: string): Promise<boolean> {
    const entry = record.components.find((one) => one.componentId === componentId);
    if (entry === undefined) return false;
    const { deviceId, hostId } = entry;
    const device = (await this.#devices()).find((one) => one.deviceId === deviceId);
    if (device === undefined || device.state === "lost") return true;
    if (!this.#world.hosts.isReachable(hostId)) return false;
    return await this.#world.maker.isLacking(componentId, deviceId, hostId);
  }

  async #devices(): Promise<readonly DeviceRecord[]> {
    const { directory, clusterId } = this.#world;
    return (await listDevices(directory, clusterId)).map(({ record }) => record);
  }
}
