/**
 * Creating and deleting a volume touches a device and the directory, which share no transaction. An
 * intent in the directory brackets both: it is written before the component is made or its volume's
 * record is removed, and goes when both sides agree. What a crash leaves is settled at the next
 * start: a component that no record names is deleted. A component without an intent is never
 * touched.
 */
import type { Directory } from "../ports/index.ts";

export interface ComponentIntent {
  readonly componentId: string;
  readonly objectId: string;
}

export async function putIntent(
  directory: Directory,
  clusterId: string,
  intent: ComponentIntent,
): Promise<void> {
  const key = keyOf(clusterId, intent.componentId);
  await directory.transact([], [{ kind: "put", key, value: intent.objectId }]);
}

export async function dropIntent(
  directory: Directory,
  clusterId: string,
  componentId: string,
): Promise<void> {
  await directory.transact([], [{ kind: "delete", key: keyOf(clusterId, componentId) }]);
}

export async function listIntents(
  directory: Directory,
  clusterId: string,
): Promise<readonly ComponentIntent[]> {
  const prefix = keyOf(clusterId, "");
  const { records } = await directory.list(prefix);
  return records.map(({ key, value }) => ({
    componentId: key.slice(prefix.length),
    objectId: value,
  }));
}

function keyOf(clusterId: string, componentId: string): string {
  return `/drystone/${clusterId}/component-intent/${componentId}`;
}
