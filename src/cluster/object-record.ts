/**
 * The directory's record of one object: who owns it, at which epoch, and how it is spread. Changed
 * only by compare-and-swap on its revision, so of two hosts that want to own it one wins.
 */
import { assert, SECTOR_SIZE_BYTES, VOLUME_SIZE_BYTES_MAX } from "../base/index.ts";
import { RecordFields } from "./record-fields.ts";
import { leavesOf, parseTree } from "./tree-node.ts";
import type { TreeNode } from "./tree-node.ts";

const FORMAT = 1;
const COMPONENTS_MAX = 128;

export interface ObjectRecord {
  readonly objectId: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly policy: ObjectPolicy;
  /** Grows with every change of owner, 0 before the first. */
  readonly epoch: number;
  /** The host that owns the object at `epoch`, undefined when nobody does. */
  readonly owner: string | undefined;
  readonly tree: TreeNode;
  /** One for each leaf of the tree, and those that are being built to replace one. */
  readonly components: readonly ComponentRecord[];
  /** Set if the object is a snapshot: it is never written to. */
  readonly snapshot?: SnapshotOrigin;
}

export interface SnapshotOrigin {
  /** The object that it was taken of, which may be gone by now. */
  readonly objectId: string;
  /** It holds what that one held when everything up to here was decided. */
  readonly sequence: number;
  readonly createdMs: number;
}

export interface ObjectPolicy {
  readonly failuresToTolerate: number;
  readonly stripes: number;
}

export interface ComponentRecord {
  readonly componentId: string;
  readonly hostId: string;
  readonly deviceId: string;
  readonly state: ComponentState;
}

/**
 * `since` is the last sequence that a stale component is known to hold. One that is being built is
 * no leaf yet: it takes the place of the leaf `replaces` when it holds everything.
 */
export type ComponentState =
  | { readonly kind: "active" }
  | { readonly kind: "stale"; readonly since: number }
  | { readonly kind: "building"; readonly replaces: string };

export function encodeObjectRecord(record: ObjectRecord): string {
  assert(componentsMatchTree(record), `components of ${record.objectId} do not match its tree`);
  return JSON.stringify({ format: FORMAT, ...record });
}

export function parseObjectRecord(key: string, text: string): ObjectRecord {
  const fields = RecordFields.parse(key, text, FORMAT);
  const policy = fields.child("policy");
  const record: ObjectRecord = Object.freeze({
    objectId: fields.text("objectId"),
    name: fields.text("name"),
    sizeBytes: fields.integer("sizeBytes", SECTOR_SIZE_BYTES, VOLUME_SIZE_BYTES_MAX),
    policy: Object.freeze({
      failuresToTolerate: policy.integer("failuresToTolerate", 0, 3),
      stripes: policy.integer("stripes", 1, 16),
    }),
    epoch: fields.integer("epoch", 0, Number.MAX_SAFE_INTEGER),
    owner: fields.has("owner") ? fields.text("owner") : undefined,
    tree: parseTree(fields.child("tree")),
    components: Object.freeze(fields.children("components", COMPONENTS_MAX).map(parseComponent)),
    ...(fields.has("snapshot") ? { snapshot: parseOrigin(fields.child("snapshot")) } : {}),
  });
  if (!componentsMatchTree(record))
    throw fields.invalid("components", "do not match the leaves of the tree");
  return record;
}

function parseState(fields: RecordFields): ComponentState {
  const kind = fields.oneOf("kind", ["active", "stale", "building"]);
  if (kind === "active") return { kind };
  if (kind === "building") return { kind, replaces: fields.text("replaces") };
  return { kind, since: fields.integer("since", 0, Number.MAX_SAFE_INTEGER) };
}

function parseOrigin(fields: RecordFields): SnapshotOrigin {
  return Object.freeze({
    objectId: fields.text("objectId"),
    sequence: fields.integer("sequence", 0, Number.MAX_SAFE_INTEGER),
    createdMs: fields.integer("createdMs", 0, Number.MAX_SAFE_INTEGER),
  });
}

function parseComponent(fields: RecordFields): ComponentRecord {
  return Object.freeze({
    componentId: fields.text("componentId"),
    hostId: fields.text("hostId"),
    deviceId: fields.text("deviceId"),
    state: parseState(fields.child("state")),
  });
}

function componentsMatchTree({ tree, components }: ObjectRecord): boolean {
  const wanted = new Set(leavesOf(tree).map((leaf) => leaf.componentId));
  const ids = new Set(components.map((entry) => entry.componentId));
  const leaves = components.filter(({ state }) => state.kind !== "building");
  const replaced = components.flatMap(({ state }) => {
    return state.kind === "building" ? [state.replaces] : [];
  });
  return (
    ids.size === components.length &&
    leaves.length === wanted.size &&
    leaves.every(({ componentId }) => wanted.has(componentId)) &&
    new Set(replaced).size === replaced.length &&
    replaced.every((componentId) => wanted.has(componentId))
  );
}
