/**
 * Makes an object out of another one that this host owns: each of its components is a fork of that
 * one's, on the same device. A component that is not in step is made anew later, as any stale one
 * is, and so is a witness that is out of reach.
 */
import { assertDefined, CodedError } from "../base/index.ts";
import { component, isLeaf, leavesOf, mirror, putIntent } from "../cluster/index.ts";
import { stripe, votesOf, witness } from "../cluster/index.ts";
import type {
  ComponentRecord,
  LegNode,
  NewVolume,
  ObjectRecord,
  StoredIntent,
  TreeNode,
  WitnessNode,
} from "../cluster/index.ts";
import type { ObjectMoment, ObjectOwner } from "../object/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import { allEnded, isOutcomeUnknown } from "./component-maker.ts";
import type { ComponentMaker } from "./component-maker.ts";

const SETTLE_DELAY_MS = 20;
const SETTLE_ATTEMPTS_MAX = 250;

export interface VolumeForksWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly maker: ComponentMaker;
}

export interface ForkRequest {
  readonly name: string;
  /** It is a snapshot: nobody writes to it. */
  readonly isFrozen: boolean;
  /** Writes the record of what was made, and drops the intents with it. */
  readonly commit: (made: NewVolume, intents: readonly StoredIntent[]) => Promise<ObjectRecord>;
}

type Placed = NewVolume["placement"][number];

export class VolumeForks {
  readonly #world: VolumeForksWorld;

  constructor(world: VolumeForksWorld) {
    this.#world = world;
  }

  /**
   * Leaves nothing behind if it fails; if nobody knows whether it did, what it made stays until its
   * hosts start anew and the record, or its absence, tells.
   */
  async fork(owner: ObjectOwner, request: ForkRequest): Promise<ObjectRecord> {
    const { directory, clusterId, newId, maker } = this.#world;
    const objectId = newId();
    const intents: StoredIntent[] = [];
    const components = owner.record.components.filter(isLeaf);
    const ids = new Map(components.map(({ componentId }) => [componentId, newId()]));
    for (const { componentId, hostId } of components) {
      const intent = { componentId: assertDefined(ids.get(componentId), "just made"), objectId };
      intents.push(await putIntent(directory, clusterId, { ...intent, hostId }));
    }
    try {
      const made = await owner.atOneMoment((record, moment) =>
        this.#forkAll(record, moment, { objectId, ids, request }),
      );
      return await request.commit(made, intents);
    } catch (error) {
      if (isOutcomeUnknown(error)) throw error;
      for (const { componentId, hostId } of intents) await maker.removeOrLeave(componentId, hostId);
      throw error;
    }
  }

  async #forkAll(
    record: ObjectRecord,
    moment: ObjectMoment,
    to: {
      readonly objectId: string;
      readonly ids: ReadonlyMap<string, string>;
      readonly request: ForkRequest;
    },
  ): Promise<NewVolume> {
    const { objectId, ids, request } = to;
    const witnesses = new Set(
      leavesOf(record.tree)
        .filter(({ kind }) => kind === "witness")
        .map(({ componentId }) => componentId),
    );
    const leaves = record.components.filter(isLeaf);
    const idOf = (componentId: string): string => {
      const id = ids.get(componentId);
      if (id !== undefined) return id;
      throw new CodedError({
        code: "object-contended",
        message: `a component of ${record.name} was replaced meanwhile`,
        hint: "try again",
      });
    };
    const made = new Set<string>();
    const placement = await allEnded(
      leaves.map(async (leaf): Promise<Placed> => {
        const { hostId, deviceId } = leaf;
        const placed = { componentId: idOf(leaf.componentId), hostId, deviceId };
        const isWitness = witnesses.has(leaf.componentId);
        const isMade =
          leaf.state.kind === "active" &&
          (await this.#forkOne(leaf, moment, { ...placed, objectId, isWitness, request }));
        if (isMade) made.add(leaf.componentId);
        // A witness has nothing to catch up with: it is there, or is replaced as one that is not.
        if (isMade || isWitness) return placed;
        return { ...placed, state: { kind: "stale", since: 0 } };
      }),
    );
    requireMajority(record, made);
    const { sizeBytes, policy, objectId: of, encryption } = record;
    const { name, isFrozen } = request;
    const createdMs = Math.floor(this.#world.clock.wallMs());
    const snapshot = { objectId: of, sequence: moment.sequence, createdMs };
    const tree = renamed(record.tree, idOf);
    const same = { sizeBytes, policy, ...(encryption === undefined ? {} : { encryption }) };
    const volume = { objectId, name, ...same, tree, placement };
    return isFrozen ? { ...volume, snapshot } : volume;
  }

  /** False if it is a witness that cannot be reached: what it holds can be made at any time. */
  async #forkOne(
    source: ComponentRecord,
    { epoch, sequence }: ObjectMoment,
    to: {
      readonly componentId: string;
      readonly objectId: string;
      readonly hostId: string;
      readonly isWitness: boolean;
      readonly request: ForkRequest;
    },
  ): Promise<boolean> {
    const { componentId, objectId, hostId, isWitness, request } = to;
    const { isFrozen } = request;
    const sourceId = source.componentId;
    const fork = { componentId, objectId, sourceId, epoch, sequence, isFrozen };
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#world.maker.fork(fork, hostId);
        return true;
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        if (isWitness) return false;
        // Other objects' writes before its own may have to be decided first.
        if (error.code !== "not-settled" || attempt === SETTLE_ATTEMPTS_MAX) throw error;
      }
      const { clock } = this.#world;
      await new Promise<void>((resolve) => void clock.after(SETTLE_DELAY_MS, resolve));
    }
  }
}

/** What is not made has no vote yet: without more than half of them nobody could ever use it. */
function requireMajority(record: ObjectRecord, made: ReadonlySet<string>): void {
  const votes = leavesOf(record.tree)
    .filter(({ componentId }) => made.has(componentId))
    .reduce((sum, leaf) => sum + leaf.votes, 0);
  const all = votesOf(record.tree);
  if (2 * votes > all) return;
  throw new CodedError({
    code: "object-inaccessible",
    message: `only ${votes} of ${all} votes of ${record.name} are in reach and up to date`,
    hint: "try again when more of its hosts are back, or its copies are complete",
  });
}

function renamed(tree: TreeNode, idOf: (componentId: string) => string): TreeNode {
  const legOf = (leg: LegNode): LegNode =>
    leg.kind === "component"
      ? component(idOf(leg.componentId), leg.votes)
      : stripe(
          leg.children.map((child) => component(idOf(child.componentId), child.votes)),
          leg.unitBlocks,
        );
  const childOf = (child: LegNode | WitnessNode): LegNode | WitnessNode =>
    child.kind === "witness" ? witness(idOf(child.componentId), child.votes) : legOf(child);
  return tree.kind === "mirror" ? mirror(tree.children.map(childOf)) : legOf(tree);
}
