/**
 * Creating and deleting a volume touches devices of several hosts and the directory, which share no
 * transaction. An intent in the directory brackets both: it is written before a component is made,
 * or in the transaction that removes its volume's record, and goes when both sides agree. What a
 * crash leaves is settled by the host of the component: one that no record names is deleted, when
 * the host starts, or at any time if the intent is one to remove it. A component without an intent
 * is never touched.
 */
import type { Directory, DirectoryWrite } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;

export interface ComponentIntent {
  readonly componentId: string;
  readonly objectId: string;
  /** Where the component is, or will be. */
  readonly hostId: string;
  /** No record names it any more: it goes as soon as its host hears of it, at any time. */
  readonly isRemoval?: boolean;
}

export interface StoredIntent extends ComponentIntent {
  readonly revision: number;
}

function encodeIntent(intent: ComponentIntent): string {
  return JSON.stringify({ format: FORMAT, ...intent });
}

export async function putIntent(
  directory: Directory,
  clusterId: string,
  intent: ComponentIntent,
): Promise<StoredIntent> {
  const { revision } = await directory.transact([], [intentPut(clusterId, intent)]);
  return { ...intent, revision };
}

/** As a part of a transaction. */
function intentPut(clusterId: string, intent: ComponentIntent): DirectoryWrite {
  const key = directoryKeys.intent(clusterId, intent.componentId);
  return { kind: "put", key, value: encodeIntent(intent) };
}

/** As a part of the transaction after which no record names the component. */
export function removalPut(
  clusterId: string,
  { componentId, objectId, hostId }: ComponentIntent,
): DirectoryWrite {
  return intentPut(clusterId, { componentId, objectId, hostId, isRemoval: true });
}

/** As a part of a transaction. */
export function intentDrop(clusterId: string, componentId: string): DirectoryWrite {
  return { kind: "delete", key: directoryKeys.intent(clusterId, componentId) };
}

export async function dropIntent(
  directory: Directory,
  clusterId: string,
  componentId: string,
): Promise<void> {
  await directory.transact([], [intentDrop(clusterId, componentId)]);
}

export async function listIntents(
  directory: Directory,
  clusterId: string,
): Promise<readonly StoredIntent[]> {
  const { records } = await directory.list(directoryKeys.intents(clusterId));
  return records.map(({ key, value, revision }) => {
    const fields = RecordFields.parse(key, value, FORMAT);
    return {
      componentId: fields.text("componentId"),
      objectId: fields.text("objectId"),
      hostId: fields.text("hostId"),
      ...(fields.has("isRemoval") ? { isRemoval: fields.boolean("isRemoval") } : {}),
      revision,
    };
  });
}
