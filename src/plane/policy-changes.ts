/**
 * Begins, replaces and takes back changes of policy. What is to be stands in the object's record;
 * whoever owns the object brings it about, and if nobody does, a host that holds a copy takes it.
 */
import { assertDefined, BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import { findVolume, intentDrop, removalPut, swapObject } from "../cluster/index.ts";
import type {
  ComponentRecord,
  DeviceRecord,
  ObjectPolicy,
  ObjectRecord,
  StoredObject,
} from "../cluster/index.ts";
import { ObjectLayout } from "../object/index.ts";
import type { NewPlace, OwnerEvent } from "../object/index.ts";
import type { Directory } from "../ports/index.ts";
import { allEnded, isOutcomeUnknown } from "./component-maker.ts";
import type { ComponentMaker } from "./component-maker.ts";
import { planPolicy } from "./policy-plan.ts";
import type { PolicyPlan } from "./policy-plan.ts";
import type { RepairBoard, RepairView } from "./repair-board.ts";
import { DeviceClaims } from "./repair-places.ts";
import { waitingRepairs } from "./repair-queue.ts";
import { spareBytes } from "./successor-placement.ts";

const ATTEMPTS_MAX = 5;

export interface PolicyChangesWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly board: RepairBoard;
  readonly maker: ComponentMaker;
  readonly newId: () => string;
  readonly addEvent: (event: OwnerEvent) => void;
  /** Makes a component that lacks everything, under an intent. */
  readonly makeComponent: (place: NewPlace, objectId: string, blockCount: number) => Promise<void>;
}

export class PolicyChanges {
  readonly #world: PolicyChangesWorld;

  constructor(world: PolicyChangesWorld) {
    this.#world = world;
  }

  /**
   * Fails with `volume-not-found`, `snapshot-policy-fixed`, `policy-unsatisfiable`,
   * `policy-no-room`, or as the hosts of new components do.
   */
  async begin(name: string, policy: ObjectPolicy): Promise<ObjectRecord> {
    const { directory, clusterId } = this.#world;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const stored = await findVolume(directory, clusterId, name);
      const { record } = stored;
      if (record.snapshot !== undefined) throw fixed(name);
      if (isSame(record.change?.policy ?? record.policy, policy)) return record;
      const next = isSame(record.policy, policy)
        ? await this.#takeBack(stored)
        : await this.#beginOnce(stored, policy);
      if (next !== undefined) return next;
    }
    throw new CodedError({
      code: "object-contended",
      message: `the record of ${name} changes too often`,
      hint: "try again",
    });
  }

  /** Whether it is the turn of a change: what is lost is made anew before anything is changed. */
  async mayChange(record: ObjectRecord): Promise<boolean> {
    const { board } = this.#world;
    const view = await board.withStored(board.view());
    const volumes = await board.volumes();
    if (waitingRepairs(view, volumes).some(({ why }) => why === "lost")) return false;
    const changing = volumes
      .filter(({ change, owner }) => change !== undefined && owner !== undefined)
      .map(({ objectId }) => objectId)
      .toSorted();
    const at = changing.indexOf(record.objectId);
    // One that was begun a moment ago is not seen yet.
    return (at < 0 ? changing.length : at) < view.settings.rebuildsAtOnce;
  }

  async #beginOnce(stored: StoredObject, policy: ObjectPolicy): Promise<ObjectRecord | undefined> {
    const { board, newId } = this.#world;
    const view = await board.withStored(board.fresh());
    const { objectId: own } = stored.record;
    const others = (await board.volumes()).filter(({ objectId }) => objectId !== own);
    // What joins for a change that this one takes the place of, goes.
    const claims = DeviceClaims.of(view, [...others, withoutJoining(stored.record)]);
    const deviceOf = new Map(view.devices.map((device) => [device.deviceId, device]));
    const plan = planPolicy(stored.record, policy, {
      stored: view.stored,
      spareBytes: ({ deviceId }) => {
        const device = assertDefined(deviceOf.get(deviceId), "a device that was listed");
        return spareBytes({ ...device, freeBytes: claims.freeBytes(device) });
      },
      nameOf: ({ deviceId, hostId }) => {
        const host = view.hosts.find((one) => one.hostId === hostId);
        return `${deviceOf.get(deviceId)?.path ?? deviceId} on ${host?.name ?? hostId}`;
      },
      hosts: view.hosts.filter(({ hostId }) => view.isReachable(hostId)),
      devices: view.devices.filter((device) => isUsable(view, device)),
      isHere: (entry) => isHere(view, stored.record, entry),
      newId,
    });
    const next = await this.#make(stored, plan);
    if (next === undefined) return undefined;
    const { objectId, name } = next;
    const { failuresToTolerate, stripes } = policy;
    this.#world.addEvent({
      kind: "policy-changing",
      level: "info",
      message:
        `${name} is to tolerate ${failuresToTolerate} failures, in ${stripes} stripes: ` +
        `${plan.made.length} components are made for that`,
      details: { objectId, failuresToTolerate, stripes },
    });
    return next;
  }

  async #make(stored: StoredObject, plan: PolicyPlan): Promise<ObjectRecord | undefined> {
    const { clusterId, maker, makeComponent } = this.#world;
    const { objectId, sizeBytes } = stored.record;
    const blocks = Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
    const sizes = new ObjectLayout(plan.tree).componentSizes(blocks);
    let next: StoredObject | undefined;
    let isKept = false;
    try {
      await allEnded(
        plan.made.map((place) => makeComponent(place, objectId, sizes.get(place.componentId) ?? 0)),
      );
      const { components } = withoutJoining(stored.record);
      const joining = plan.made.map((place): ComponentRecord => ({
        ...place,
        state: { kind: "joining" },
      }));
      const change = { policy: plan.policy, tree: plan.tree };
      next = await this.#swap(
        stored,
        { ...stored.record, change, components: [...components, ...joining] },
        plan.made.map(({ componentId }) => intentDrop(clusterId, componentId)),
      );
      isKept = next !== undefined;
      return next?.record;
    } catch (error) {
      isKept = isOutcomeUnknown(error);
      throw error;
    } finally {
      if (!isKept)
        for (const { componentId, hostId } of plan.made)
          await maker.removeOrLeave(componentId, hostId);
    }
  }

  async #takeBack(stored: StoredObject): Promise<ObjectRecord | undefined> {
    const next = await this.#swap(stored, withoutJoining(stored.record), []);
    return next?.record;
  }

  /** What was joining before goes. */
  async #swap(
    stored: StoredObject,
    next: ObjectRecord,
    also: readonly ReturnType<typeof intentDrop>[],
  ): Promise<StoredObject | undefined> {
    const { directory, clusterId, maker } = this.#world;
    const { objectId } = stored.record;
    const gone = stored.record.components.filter(({ state }) => state.kind === "joining");
    const swapped = await swapObject(directory, clusterId, stored, next, [
      ...also,
      ...gone.map(({ componentId, hostId }) =>
        removalPut(clusterId, { componentId, hostId, objectId }),
      ),
    ]);
    if (swapped !== undefined)
      for (const { componentId, hostId } of gone) await maker.removeOrLeave(componentId, hostId);
    return swapped;
  }
}

function withoutJoining(record: ObjectRecord): ObjectRecord {
  const { change: _gone, ...rest } = record;
  return { ...rest, components: record.components.filter(({ state }) => state.kind !== "joining") };
}

function isSame(a: ObjectPolicy, b: ObjectPolicy): boolean {
  return a.failuresToTolerate === b.failuresToTolerate && a.stripes === b.stripes;
}

function isUsable(view: RepairView, device: DeviceRecord): boolean {
  return device.state === "online" && view.isInService(device);
}

function isHere(view: RepairView, record: ObjectRecord, entry: ComponentRecord): boolean {
  return view.isReachable(entry.hostId) && !view.isGone(entry) && !view.isLeaving(record, entry);
}

function fixed(name: string): CodedError {
  return new CodedError({
    code: "snapshot-policy-fixed",
    message: `${name} is a snapshot: its policy is the one that its volume had`,
    hint: "change the policy of the volume, or of a clone of the snapshot",
  });
}
