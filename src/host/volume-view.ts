/** A volume's record and what its owner knows, as the API shows them. */
import type { ObjectRecord, TreeNode, WitnessNode } from "../cluster/index.ts";
import type { OwnerState } from "../object/index.ts";
import type { AttachmentView, ComponentView, TreeView, VolumeView } from "./views.ts";

export interface VolumeFacts {
  readonly hostId: string;
  readonly hostName: string;
  /** Of the owner on this host, if there is one: newer than the record. */
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
    return {
      componentId: entry.componentId,
      host: entry.hostId === facts.hostId ? facts.hostName : entry.hostId,
      device: entry.deviceId,
      state: sequence === undefined ? "absent" : (owned?.state ?? entry.state).kind,
      ...(sequence === undefined ? {} : { sequence }),
    };
  });
  const reason = inaccessibleReason(components, ownerState);
  const owner = record.owner === facts.hostId ? facts.hostName : record.owner;
  return {
    name: record.name,
    objectId: record.objectId,
    sizeBytes: ownerState?.sizeBytes ?? record.sizeBytes,
    ...(logicalBytes === undefined ? {} : { logicalBytes }),
    failuresToTolerate: record.policy.failuresToTolerate,
    stripes: record.policy.stripes,
    accessible: reason === undefined,
    ...(reason === undefined ? {} : { reason }),
    epoch: record.epoch,
    ...(owner === undefined ? {} : { owner }),
    tree: treeView(record.tree),
    components,
    ...(attachment === undefined ? {} : { attachment }),
  };
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
  const absent = components.find(({ state }) => state === "absent");
  if (absent === undefined) return undefined;
  return `component ${absent.componentId} is missing: device ${absent.device} is not open`;
}
