/** Growing and removing components: changes of the maps that have no transaction of their own. */
import { BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import { componentKey, keyAfterPrefix, regionsKey } from "../format/index.ts";
import type { ComponentInfo } from "./component-table.ts";
import { existingPages } from "./destager.ts";
import { commitComponent } from "./device-records.ts";
import type { DeviceState } from "./device-state.ts";
import { MapUpdate } from "./map-update.ts";

const PAGE_LAST = 2 ** 32 - 2;

export async function resizeComponentMaps(
  state: DeviceState,
  info: ComponentInfo,
  sizeBytes: number,
): Promise<void> {
  const blockCount = sizeBytes / BLOCK_SIZE_BYTES;
  if (blockCount < info.blockCount) {
    throw new CodedError({
      code: "shrink-unsupported",
      message: `component ${info.componentId} cannot shrink`,
      hint: "Create a smaller volume and copy the data",
    });
  }
  const before = info.blockCount;
  info.blockCount = blockCount;
  try {
    await commitComponent(state.metadata, info);
  } catch (error) {
    info.blockCount = before;
    throw error;
  }
}

/** Idempotent: a removal that a crash cut short goes on with the pages that are left. */
export async function deleteComponentMaps(state: DeviceState, info: ComponentInfo): Promise<void> {
  await commitComponent(state.metadata, info);
  for (;;) {
    const pages = existingPages(state, info.index, 0, PAGE_LAST);
    if (pages.length === 0) break;
    const update = new MapUpdate(state);
    for (const page of pages) update.removePage(info, page);
    await update.commit(() => {});
  }
  const groups: Uint8Array[] = [];
  const first = regionsKey(info.index, 0);
  state.metadata.scan(first, keyAfterPrefix(first.subarray(0, 5)), (key) => {
    groups.push(key.slice());
    return true;
  });
  const last = new MapUpdate(state);
  await last.commit((batch) => {
    for (const key of groups) batch.delete(key);
    batch.delete(componentKey(info.index));
  });
  state.regions.forget(info.index);
  state.components.remove(info);
}
