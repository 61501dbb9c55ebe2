/**
 * The directory's record of one object: who owns it, at which epoch, and how it is spread. Changed
 * only by compare-and-swap on its revision, so of two hosts that want to own it one wins.
 */
import { assert, SECTOR_SIZE_BYTES, VOLUME_SIZE_BYTES_MAX } from "../base/index.ts";
import type { VolumeEncryption } from "./key-domain-record.ts";
import { RecordFields } from "./record-fields.ts";
import { leavesOf, parseTree, STRIPES_MAX } from "./tree-node.ts";
import type { TreeNode } from "./tree-node.ts";

const FORMAT = 1;
/** Versions that know nothing of encryption must not serve the volume, nor change its record. */
const FORMAT_ENCRYPTED = 2;
export const FAILURES_MAX = 3;
const COMPONENTS_MAX = 256;

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
  /**
   * One for each leaf of the tree, those that are being built to replace one, and those of the tree
   * that the object is to have.
   */
  readonly components: readonly ComponentRecord[];
  /** Set while another policy is being brought about: what the object is to be. */
  readonly change?: ObjectChange;
  /** Set if the object is a snapshot: it is never written to. */
  readonly snapshot?: SnapshotOrigin;
  /** Set if its blocks are encrypted; it never changes. */
  readonly encryption?: VolumeEncryption;
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

/**
 * Leaves of its tree that are leaves of the object already stay as they are; the others are
 * "joining" until the object is switched over, by one compare-and-swap.
 */
export interface ObjectChange {
  readonly policy: ObjectPolicy;
  readonly tree: TreeNode;
}

export interface ComponentRecord {
  readonly componentId: string;
  readonly hostId: string;
  readonly deviceId: string;
  readonly state: ComponentState;
}

/**
 * `since` is the last sequence that a stale component is known to hold. One that is being built is
 * no leaf yet: it takes the place of the leaf `replaces` when it holds everything. One that is
 * joining is a leaf of the tree that the object is to have.
 */
export type ComponentState =
  | { readonly kind: "active" }
  | { readonly kind: "stale"; readonly since: number }
  | { readonly kind: "building"; readonly replaces: string }
  | { readonly kind: "joining" };

export function encodeObjectRecord(record: ObjectRecord): string {
  assert(componentsMatchTree(record), `components of ${record.objectId} do not match its tree`);
  const format = record.encryption === undefined ? FORMAT : FORMAT_ENCRYPTED;
  return JSON.stringify({ format, ...record });
}

export function parseObjectRecord(key: string, text: string): ObjectRecord {
  const fields = RecordFields.parse(key, text, FORMAT, FORMAT_ENCRYPTED);
  const isEncrypted = fields.integer("format", FORMAT, FORMAT_ENCRYPTED) === FORMAT_ENCRYPTED;
  const record: ObjectRecord = Object.freeze({
    objectId: fields.text("objectId"),
    name: fields.text("name"),
    sizeBytes: fields.integer("sizeBytes", SECTOR_SIZE_BYTES, VOLUME_SIZE_BYTES_MAX),
    policy: parsePolicy(fields.child("policy")),
    epoch: fields.integer("epoch", 0, Number.MAX_SAFE_INTEGER),
    owner: fields.has("owner") ? fields.text("owner") : undefined,
    tree: parseTree(fields.child("tree")),
    components: Object.freeze(fields.children("components", COMPONENTS_MAX).map(parseComponent)),
    ...(fields.has("change") ? { change: parseChange(fields.child("change")) } : {}),
    ...(fields.has("snapshot") ? { snapshot: parseOrigin(fields.child("snapshot")) } : {}),
    ...(isEncrypted ? { encryption: parseEncryption(fields.child("encryption")) } : {}),
  });
  if (!componentsMatchTree(record))
    throw fields.invalid("components", "do not match the leaves of the tree");
  return record;
}

function parsePolicy(fields: RecordFields): ObjectPolicy {
  return Object.freeze({
    failuresToTolerate: fields.integer("failuresToTolerate", 0, FAILURES_MAX),
    stripes: fields.integer("stripes", 1, STRIPES_MAX),
  });
}

function parseChange(fields: RecordFields): ObjectChange {
  const policy = parsePolicy(fields.child("policy"));
  return Object.freeze({ policy, tree: parseTree(fields.child("tree")) });
}

function parseState(fields: RecordFields): ComponentState {
  const kind = fields.oneOf("kind", ["active", "stale", "building", "joining"]);
  if (kind === "active" || kind === "joining") return { kind };
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

function parseEncryption(fields: RecordFields): VolumeEncryption {
  return Object.freeze({
    domain: fields.text("domain", 63),
    domainId: fields.text("domainId", 64),
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

/** Whether it is a leaf of the object's tree, and not of what is being made beside it. */
export function isLeaf({ state }: ComponentRecord): boolean {
  return state.kind !== "building" && state.kind !== "joining";
}

function componentsMatchTree({ tree, components, change }: ObjectRecord): boolean {
  const wanted = new Set(leavesOf(tree).map((leaf) => leaf.componentId));
  const ids = new Set(components.map((entry) => entry.componentId));
  const leaves = components.filter(isLeaf);
  const replaced = components.flatMap(({ state }) => {
    return state.kind === "building" ? [state.replaces] : [];
  });
  const next = change === undefined ? [] : leavesOf(change.tree).map((leaf) => leaf.componentId);
  const joining = new Set(next.filter((componentId) => !wanted.has(componentId)));
  const found = components.filter(({ state }) => state.kind === "joining");
  return (
    ids.size === components.length &&
    leaves.length === wanted.size &&
    leaves.every(({ componentId }) => wanted.has(componentId)) &&
    new Set(replaced).size === replaced.length &&
    replaced.every((componentId) => wanted.has(componentId)) &&
    found.length === joining.size &&
    found.every(({ componentId }) => joining.has(componentId))
  );
}
