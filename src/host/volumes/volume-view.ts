/** A volume's record and what its owner knows, as the API shows them. */
import type { ComponentRecord, ObjectRecord, TreeNode, WitnessNode } from "../../cluster/index.ts";
import type { ComponentOwnerState, OwnerState } from "../../object/index.ts";
import { waitingReason } from "./waiting-reason.ts";
import type { AttachmentView, ComponentView, TreeView, VolumeView } from "../api/views.ts";

export interface VolumeFacts {
  readonly nameOf: (hostId: string) => string;
  readonly isReachable: (hostId: string) => boolean;
  /** Of the owner, if it answers: newer than the record. */
  readonly ownerState: OwnerState | undefined;
  readonly attachment: AttachmentView | undefined;
  readonly logicalBytes: number | undefined;
  readonly sequenceOf: (componentId: string) => number | undefined;
}

export function volumeView(record: ObjectRecord, facts: VolumeFacts): VolumeView {
  const { ownerState, attachment, logicalBytes } = facts;
  const components = record.components.map((entry): ComponentView => {
    const owned = ownerState?.components.find((one) => one.componentId === entry.componentId);
    const sequence = owned?.sequence ?? facts.sequenceOf(entry.componentId);
    const reason = waitingReason(facts, entry, ownerState, owned);
    return {
      componentId: entry.componentId,
      host: facts.nameOf(entry.hostId),
      device: entry.deviceId,
      state: stateOf(entry, owned, sequence !== undefined && facts.isReachable(entry.hostId)),
      ...(sequence === undefined ? {} : { sequence }),
      ...(reason === undefined ? {} : { reason }),
    };
  });
  const reason = inaccessibleReason(components, ownerState);
  const owner = record.owner === undefined ? undefined : facts.nameOf(record.owner);
  return {
    name: record.name,
    objectId: record.objectId,
    sizeBytes: ownerState?.sizeBytes ?? record.sizeBytes,
    ...(logicalBytes === undefined ? {} : { logicalBytes }),
    failuresToTolerate: record.policy.failuresToTolerate,
    stripes: record.policy.stripes,
    ...(record.change === undefined ? {} : { change: record.change.policy }),
    accessible: reason === undefined,
    ...(reason === undefined ? {} : { reason }),
    epoch: record.epoch,
    ...(owner === undefined ? {} : { owner }),
    tree: treeView(record.tree),
    components,
    ...(attachment === undefined ? {} : { attachment }),
    ...(record.encryption === undefined ? {} : { encryption: record.encryption }),
  };
}

function stateOf(
  entry: ComponentRecord,
  owned: ComponentOwnerState | undefined,
  isThere: boolean,
): string {
  const { kind } = owned?.state ?? entry.state;
  if (kind === "building" || kind === "joining") return kind;
  if (owned?.isCatchingUp === true) return "catching-up";
  return !isThere && kind === "active" ? "absent" : kind;
}

function treeView(node: TreeNode | WitnessNode): TreeView {
  if (node.kind === "component" || node.kind === "witness") {
    return { kind: node.kind, componentId: node.componentId };
  }
  return { kind: node.kind, children: [...node.children].map(treeView) };
}

function inaccessibleReason(
  components: readonly ComponentView[],
  ownerState: OwnerState | undefined,
): string | undefined {
  if (ownerState !== undefined) {
    return ownerState.accessible ? undefined : (ownerState.reason ?? "its owner has stopped");
  }
  const leaves = components.filter(({ state }) => state !== "building" && state !== "joining");
  const present = leaves.filter(({ state }) => state === "active");
  if (2 * present.length > leaves.length) return undefined;
  const absent = leaves.filter(({ state }) => state !== "active");
  return `of its ${leaves.length} components ${absent.length} are not there: ${absent
    .map(({ componentId, host, state }) => `${componentId.slice(0, 8)} on ${host} is ${state}`)
    .join(", ")}`;
}
