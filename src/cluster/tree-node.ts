/**
 * How an object is spread over devices, as small frozen nodes. A mirror's children are legs, each a
 * full copy; a stripe deals its range out to its children, unit by unit; witnesses vote and hold
 * nothing.
 *
 * Shapes that exist: component | stripe of components | mirror of those, with witnesses beside the
 * legs.
 */
import { CodedError, REGION_BLOCKS } from "../base/index.ts";
import { idInvalid } from "./directory-keys.ts";
import type { RecordFields } from "./record-fields.ts";

export const STRIPE_UNIT_BLOCKS = 256;
export const LEGS_MAX = 4;
export const STRIPES_MAX = 16;
const VOTES_MAX = 64;
const WITNESSES_MAX = 8;

export interface ComponentNode {
  readonly kind: "component";
  readonly componentId: string;
  readonly votes: number;
}

export interface WitnessNode {
  readonly kind: "witness";
  readonly componentId: string;
  readonly votes: number;
}

export interface StripeNode {
  readonly kind: "stripe";
  readonly unitBlocks: number;
  readonly children: readonly ComponentNode[];
}

export interface MirrorNode {
  readonly kind: "mirror";
  readonly children: readonly (LegNode | WitnessNode)[];
}

/** A full copy of the object. */
export type LegNode = ComponentNode | StripeNode;
export type LeafNode = ComponentNode | WitnessNode;
export type TreeNode = LegNode | MirrorNode;

export function component(componentId: string, votes = 1): ComponentNode {
  return Object.freeze({ kind: "component", componentId, votes });
}

export function witness(componentId: string, votes = 1): WitnessNode {
  return Object.freeze({ kind: "witness", componentId, votes });
}

export function stripe(children: readonly ComponentNode[], unitBlocks: number): StripeNode {
  return Object.freeze({ kind: "stripe", unitBlocks, children: Object.freeze([...children]) });
}

export function mirror(children: readonly (LegNode | WitnessNode)[]): MirrorNode {
  return Object.freeze({ kind: "mirror", children: Object.freeze([...children]) });
}

/** The full copies, in order. */
export function legsOf(tree: TreeNode): readonly LegNode[] {
  if (tree.kind !== "mirror") return [tree];
  return tree.children.filter((child) => child.kind !== "witness");
}

/** The components of one leg, in the order of its stripes. */
export function componentsOf(leg: LegNode): readonly ComponentNode[] {
  return leg.kind === "component" ? [leg] : leg.children;
}

/** Components and witnesses, in order. */
export function leavesOf(tree: TreeNode): readonly LeafNode[] {
  const children = tree.kind === "mirror" ? tree.children : [tree];
  return children.flatMap((child): readonly LeafNode[] =>
    child.kind === "witness" ? [child] : componentsOf(child),
  );
}

/** The same tree with another component in the place of one. */
export function replaceLeaf(tree: TreeNode, from: string, to: string): TreeNode {
  const renamed = (leaf: ComponentNode): ComponentNode =>
    leaf.componentId === from ? component(to, leaf.votes) : leaf;
  const inLeg = (leg: LegNode): LegNode =>
    leg.kind === "component" ? renamed(leg) : stripe(leg.children.map(renamed), leg.unitBlocks);
  if (tree.kind !== "mirror") return inLeg(tree);
  return mirror(
    tree.children.map((child) => {
      if (child.kind !== "witness") return inLeg(child);
      return child.componentId === from ? witness(to, child.votes) : child;
    }),
  );
}

export function votesOf(tree: TreeNode): number {
  return leavesOf(tree).reduce((sum, leaf) => sum + leaf.votes, 0);
}

/** Returns why no object may have this tree, or undefined if one may. */
export function treeInvalid(tree: TreeNode): string | undefined {
  const legs = legsOf(tree);
  if (tree.kind === "mirror" && legs.length < 2) return "a mirror needs two legs";
  if (legs.length > LEGS_MAX) return `more than ${LEGS_MAX} legs`;
  for (const leg of legs) {
    if (leg.kind !== "stripe") continue;
    if (leg.children.length < 2) return "a stripe needs two components";
    if (leg.children.length > STRIPES_MAX) return `more than ${STRIPES_MAX} stripes`;
    if (!Number.isSafeInteger(leg.unitBlocks) || leg.unitBlocks < 1 || leg.unitBlocks > 2 ** 20)
      return "a stripe unit has 1 to 1048576 blocks";
    // Digests of regions are compared between legs that are striped differently.
    if (leg.unitBlocks % REGION_BLOCKS !== 0)
      return `a stripe unit is a multiple of ${REGION_BLOCKS}`;
  }
  return leavesInvalid(leavesOf(tree));
}

function leavesInvalid(leaves: readonly LeafNode[]): string | undefined {
  const seen = new Set<string>();
  for (const leaf of leaves) {
    const why = idInvalid(leaf.componentId);
    if (why !== undefined) return `component "${leaf.componentId}": ${why}`;
    if (seen.has(leaf.componentId)) return `component "${leaf.componentId}" appears twice`;
    seen.add(leaf.componentId);
    if (!Number.isSafeInteger(leaf.votes) || leaf.votes < 0 || leaf.votes > VOTES_MAX)
      return `component "${leaf.componentId}" has an invalid number of votes`;
  }
  return leaves.some((leaf) => leaf.votes > 0) ? undefined : "nobody has a vote";
}

export function parseTree(fields: RecordFields): TreeNode {
  const kind = fields.oneOf("kind", ["component", "stripe", "mirror"]);
  const tree = kind === "mirror" ? parseMirror(fields) : parseLeg(fields);
  const why = treeInvalid(tree);
  if (why === undefined) return tree;
  throw new CodedError({ code: "record-invalid", message: `${fields.what} is invalid: ${why}` });
}

function parseMirror(fields: RecordFields): MirrorNode {
  const children = fields.children("children", LEGS_MAX + WITNESSES_MAX);
  return mirror(
    children.map((child) => {
      const kind = child.oneOf("kind", ["component", "stripe", "witness"]);
      return kind === "witness"
        ? witness(child.text("componentId"), child.integer("votes", 0, VOTES_MAX))
        : parseLeg(child);
    }),
  );
}

function parseLeg(fields: RecordFields): LegNode {
  if (fields.oneOf("kind", ["component", "stripe"]) === "component") return parseComponent(fields);
  const children = fields.children("children", STRIPES_MAX).map(parseComponent);
  return stripe(children, fields.integer("unitBlocks", 1, 2 ** 20));
}

function parseComponent(fields: RecordFields): ComponentNode {
  fields.oneOf("kind", ["component"]);
  return component(fields.text("componentId"), fields.integer("votes", 0, VOTES_MAX));
}
