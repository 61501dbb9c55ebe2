/** What operators have decided about high availability, for the whole cluster. */
import type { Directory, DirectoryRecord } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
export const TOLERATED_HOSTS_MAX = 16;

export interface HaSettings {
  /** False: nothing is started elsewhere, and nothing stands still, because of hosts unheard of. */
  readonly isArmed: boolean;
  /** Hosts that may fail at once with room left for all protected machines. */
  readonly toleratedHosts: number;
  /** What happens to a start that would leave too little room for that. */
  readonly admission: "refuse" | "warn" | "off";
}

export const HA_DEFAULTS: HaSettings = { isArmed: true, toleratedHosts: 1, admission: "warn" };

export interface StoredHaSettings {
  readonly settings: HaSettings;
  /** 0: nobody has decided anything yet. */
  readonly revision: number;
}

export async function readHaSettings(
  directory: Directory,
  clusterId: string,
): Promise<StoredHaSettings> {
  const key = directoryKeys.haSettings(clusterId);
  const found = await directory.get(key);
  return found === undefined ? { settings: HA_DEFAULTS, revision: 0 } : haSettingsOf(found);
}

/** Fails if another version wrote it, or it is damaged. */
export function haSettingsOf({ key, value, revision }: DirectoryRecord): StoredHaSettings {
  const fields = RecordFields.parse(key, value, FORMAT);
  const settings = {
    isArmed: fields.boolean("isArmed"),
    toleratedHosts: fields.integer("toleratedHosts", 0, TOLERATED_HOSTS_MAX),
    admission: fields.oneOf("admission", ["refuse", "warn", "off"]),
  };
  return { settings, revision };
}

/** False if somebody else has changed them since they were read. */
export async function swapHaSettings(
  directory: Directory,
  clusterId: string,
  stored: StoredHaSettings,
  next: HaSettings,
): Promise<boolean> {
  const key = directoryKeys.haSettings(clusterId);
  const put = { kind: "put", key, value: JSON.stringify({ format: FORMAT, ...next }) } as const;
  const { succeeded } = await directory.transact([{ key, revision: stored.revision }], [put]);
  return succeeded;
}
