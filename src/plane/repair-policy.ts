/**
 * When a component is given up for good, and where it is made anew. A device that is lost or has
 * failed does not come back, nor does a component that its device does not have; a host or a device
 * that is away is waited for, for as long as the cluster's settings say.
 */
import type { ObjectRecord } from "../cluster/index.ts";
import type { Placing } from "../object/index.ts";
import type { ComponentMaker } from "./component-maker.ts";
import type { ContentLikeness } from "./content-likeness.ts";
import { isCrowded, isCrowdedOut } from "./rebalance.ts";
import type { RepairBoard } from "./repair-board.ts";
import { witnessesOf } from "./repair-places.ts";
import { turnOf } from "./repair-queue.ts";

export interface RepairPolicyWorld {
  readonly board: RepairBoard;
  readonly maker: ComponentMaker;
  readonly likeness: ContentLikeness;
  readonly newId: () => string;
}

export class RepairPolicy {
  readonly #world: RepairPolicyWorld;

  constructor(world: RepairPolicyWorld) {
    this.#world = world;
  }

  /** As `Replacing.placeFor`. */
  async placeFor(
    record: ObjectRecord,
    componentId: string,
    avoided: ReadonlySet<string> = new Set(),
  ): Promise<Placing> {
    const { board, newId } = this.#world;
    const volumes = await board.volumes();
    const view = await board.withStored(board.view());
    const any = turnOf(view, volumes, record, componentId, { avoided });
    if (any.kind !== "now") return any;
    // Only now, since it is to be made at once, is it worth asking.
    const devices = view.devices.filter(
      (device) =>
        device.state === "online" && view.isInService(device) && view.isReachable(device.hostId),
    );
    const isWitness = witnessesOf(record).has(componentId);
    const likeness = isWitness ? undefined : await this.#world.likeness.of(record, devices);
    const turn = turnOf(view, volumes, record, componentId, { avoided, likeness });
    if (turn.kind !== "now") return turn;
    return { kind: "place", place: { ...turn.place, componentId: newId() } };
  }

  /** As `Replacing.isGivenUp`. */
  async isGivenUp(record: ObjectRecord, componentId: string): Promise<boolean> {
    const entry = record.components.find((one) => one.componentId === componentId);
    if (entry === undefined) return false;
    const { board } = this.#world;
    const seen = await board.view();
    // A device may have come since the last look.
    const view = seen.hasDevice(entry.deviceId) ? seen : await board.fresh();
    if (view.isGone(entry) || view.isLeaving(record, entry)) return true;
    const { deviceId, hostId } = entry;
    if (!view.isReachable(hostId)) return false;
    return await this.#world.maker.isLacking(componentId, deviceId, hostId);
  }

  /** As `Replacing.isLeaving`. */
  async isLeaving(record: ObjectRecord, componentId: string): Promise<boolean> {
    const { board } = this.#world;
    const entry = record.components.find((one) => one.componentId === componentId);
    if (entry === undefined) return false;
    const view = await board.view();
    if (view.isLeaving(record, entry)) return true;
    const device = view.devices.find(({ deviceId }) => deviceId === entry.deviceId);
    if (device === undefined || !isCrowded(view, device)) return false;
    const stored = await board.withStored(board.view());
    return isCrowdedOut(stored, await board.volumes(), record, componentId);
  }
}
