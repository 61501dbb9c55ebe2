/**
 * Who takes snapshots, makes clones, rolls volumes back and changes their policies, one thing after
 * the other, on whichever host seems right, while users work and things go wrong. What becomes of a
 * request may stay unknown: then what was asked for may be there or not, and is looked for later.
 */
import { createVolumeRecord, findVolume, replaceVolumeRecord } from "../cluster/index.ts";
import type { NewVolume, ObjectPolicy, ObjectRecord, StoredIntent } from "../cluster/index.ts";
import type { Prng } from "../base/index.ts";
import type { HostPlane } from "../plane/index.ts";
import { BLOCK_SECTORS } from "./linearizability.ts";
import { CLUSTER_ID } from "./names.ts";
import { READ_SECTORS, readSnapshot } from "./snapshot-reader.ts";
import type { Answer, TrialHost } from "./trial-host.ts";
import type { OperatorTask } from "./trial-plan.ts";
import { TrialSnapshot, TrialVolume } from "./trial-volume.ts";
import type { TrialWorld } from "./trial-world.ts";

const PATIENCE_MS = 20_000;
const FREE_MS = 5000;
const SNAPSHOTS_MAX = 6;
const CLONES_MAX = 2;

export class TrialOperator {
  readonly #world: TrialWorld;
  readonly #prng: Prng;
  readonly #use: (volume: TrialVolume) => void;
  #clones = 0;
  #snapshots = 0;

  /** `use`: lets somebody work on a volume. */
  constructor(world: TrialWorld, use: (volume: TrialVolume) => void) {
    this.#world = world;
    this.#prng = world.prng.fork();
    this.#use = use;
  }

  async run(): Promise<void> {
    const { operator } = this.#world.plan;
    if (operator === undefined) return;
    while (!this.#world.isHealing && this.#world.failure === undefined) {
      await this.#world.pass(this.#prng.below(2 * operator.everyMs));
      if (!this.#world.isHealing) await this.#do(this.#prng.pick(operator.tasks));
    }
  }

  async #do(task: OperatorTask): Promise<void> {
    const volume = this.#prng.pick(this.#world.volumes);
    if (task === "snapshot") await this.#snapshot(volume);
    else if (task === "change-policy") await this.#changePolicy(volume);
    else {
      const taken = this.#world.snapshots.filter(({ state }) => state === "taken");
      if (taken.length === 0) return;
      const snapshot = this.#prng.pick(taken);
      if (task === "read-snapshot") await this.#read(snapshot);
      else if (task === "delete-snapshot") await this.#delete(snapshot);
      else if (task === "clone") await this.#clone(snapshot);
      else await this.#rollBack(snapshot);
    }
  }

  async #snapshot(volume: TrialVolume): Promise<void> {
    const { snapshots } = this.#world;
    const host = this.#hostFor(volume.objectId);
    if (snapshots.filter(({ state }) => state !== "gone").length >= SNAPSHOTS_MAX) return;
    const snapshot = new TrialSnapshot(volume, `${volume.name}@${this.#snapshots++}`);
    snapshots.push(snapshot);
    const { name } = snapshot;
    const answer = await this.#fork(host, volume.objectId, false, {
      name,
      isFrozen: true,
      made: ({ objectId }) => {
        snapshot.objectId = objectId;
      },
    });
    this.#trace(`snapshot ${name} on ${host.name}`, answer);
    if (answer.kind === "done") snapshot.taken();
  }

  async #read(snapshot: TrialSnapshot): Promise<void> {
    const host = this.#hostFor(snapshot.objectId);
    const blocks = Math.floor(snapshot.contents.length / BLOCK_SECTORS);
    for (let i = 0; i < 4; i++) {
      const firstSector = this.#prng.below(blocks) * BLOCK_SECTORS;
      if (!(await readSnapshot(this.#world, host, snapshot, firstSector))) break;
    }
    host.handOver(snapshot.objectId);
  }

  async #delete(snapshot: TrialSnapshot): Promise<void> {
    // What others began as is known first, so that they can be checked.
    if (snapshot.isNeeded && !(await this.#readWhole(snapshot))) return;
    const { name } = snapshot;
    const host = this.#anyHost();
    snapshot.state = "removing";
    const answer = await host.ask((plane) => plane.deleteVolume(name), PATIENCE_MS);
    this.#trace(`delete ${name} on ${host.name}`, answer);
    if (answer.kind === "done") snapshot.state = "gone";
  }

  async #readWhole(snapshot: TrialSnapshot): Promise<boolean> {
    const { contents, objectId } = snapshot;
    const host = this.#hostFor(objectId);
    for (let at = 0; at < contents.length && !snapshot.isKnown; at += READ_SECTORS)
      if (!(await readSnapshot(this.#world, host, snapshot, at))) break;
    host.handOver(objectId);
    return snapshot.isKnown;
  }

  async #clone(snapshot: TrialSnapshot): Promise<void> {
    if (this.#clones >= CLONES_MAX) return;
    const { plan } = snapshot.volume;
    const name = `${plan.name}-clone${this.#clones++}`;
    const host = this.#hostFor(snapshot.objectId);
    snapshot.isNeeded = true;
    let clone: TrialVolume | undefined;
    const answer = await this.#fork(host, snapshot.objectId, true, {
      name,
      isFrozen: false,
      made: ({ objectId }) => {
        clone = new TrialVolume({ ...plan, name, objectId }, (sector) => snapshot.contents[sector]);
        this.#world.clonesAsked.push(clone);
      },
    });
    host.handOver(snapshot.objectId);
    this.#trace(`clone ${snapshot.name} to ${name} on ${host.name}`, answer);
    if (answer.kind !== "done" || clone === undefined) return;
    this.#world.cloneIsThere(clone);
    this.#use(clone);
  }

  /** As the product does: nobody uses the volume meanwhile. */
  async #rollBack(snapshot: TrialSnapshot): Promise<void> {
    const { volume, objectId, name } = snapshot;
    if (volume.isHeld) return;
    volume.isHeld = true;
    snapshot.isNeeded = true;
    this.#world.hosts.find((host) => host.owns(volume.objectId))?.handOver(volume.objectId);
    await this.#world.until(async () => {
      const record = await this.#world.record(volume.objectId);
      return record !== undefined && record.owner === undefined;
    }, FREE_MS);
    const host = this.#hostFor(objectId);
    const answer = await host.ask(async (plane) => {
      const { directory } = plane.ownerWorld();
      await plane.leaveRepair(volume.name);
      const old = await findVolume(directory, CLUSTER_ID, volume.name);
      await plane.forkVolume(await host.serve(objectId, true), {
        name: volume.name,
        isFrozen: false,
        commit: (made, intents) => {
          volume.successors.set(made.objectId, snapshot);
          return replaceVolumeRecord(directory, CLUSTER_ID, old, made, intents);
        },
      });
      await plane.removeComponents(old.record);
    }, PATIENCE_MS);
    host.handOver(objectId);
    this.#trace(`roll back to ${name} on ${host.name}`, answer);
    await this.#world.refresh(volume);
    volume.isHeld = false;
  }

  async #changePolicy(volume: TrialVolume): Promise<void> {
    const { hostCount, faults } = this.#world.plan;
    // Where a disk may forget, another copy remembers.
    const isCopyNeeded = faults.sickHost !== undefined;
    const failuresToTolerate = this.#prng.pick(isCopyNeeded ? [1, 1, 2] : [0, 1, 1, 2]);
    if (2 * failuresToTolerate + 1 > hostCount) return;
    const policy: ObjectPolicy = { failuresToTolerate, stripes: this.#prng.pick([1, 1, 2]) };
    const host = this.#anyHost();
    const answer = await host.ask(
      (plane) => plane.policies.begin(volume.name, policy),
      PATIENCE_MS,
    );
    const what = `${volume.name} tolerates ${failuresToTolerate}, stripes ${policy.stripes}`;
    this.#trace(`${what}, on ${host.name}`, answer);
  }

  async #fork(
    host: TrialHost,
    sourceId: string,
    isReadOnly: boolean,
    to: {
      readonly name: string;
      readonly isFrozen: boolean;
      readonly made: (volume: NewVolume) => void;
    },
  ): Promise<Answer<ObjectRecord>> {
    const { name, isFrozen, made } = to;
    return await host.ask(async (plane: HostPlane) => {
      const owner = await host.serve(sourceId, isReadOnly);
      return await plane.forkVolume(owner, {
        name,
        isFrozen,
        commit: (volume: NewVolume, intents: readonly StoredIntent[]) => {
          made(volume);
          return createVolumeRecord(plane.ownerWorld().directory, CLUSTER_ID, volume, intents);
        },
      });
    }, PATIENCE_MS);
  }

  /** Where the object is in use, or anywhere. */
  #hostFor(objectId: string): TrialHost {
    return this.#world.hosts.find((host) => host.owns(objectId)) ?? this.#anyHost();
  }

  #anyHost(): TrialHost {
    const { sickHost } = this.#world.plan.faults;
    return this.#prng.pick(this.#world.hosts.filter(({ number }) => number !== sickHost));
  }

  #trace(what: string, answer: Answer<unknown>): void {
    const outcome = answer.kind === "refused" ? `${answer.code}: ${answer.message}` : answer.kind;
    this.#world.trace.add("operator", `${what}: ${outcome}`);
  }
}
