/** What holds for the whole cluster and an operator may change while it runs. */
import { CodedError } from "../base/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { DirectoryMirror } from "./directory-mirror.ts";
import type { DirectoryPulse } from "./directory-pulse.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
const ATTEMPTS_MAX = 8;
const REPAIR_DELAY_MS_MAX = 30 * 24 * 3_600_000;
const AT_ONCE_MAX = 64;
const SCRUB_DAYS_MAX = 365;
const COMPARE_HOURS_MAX = 24 * 365;

export interface ClusterSettings {
  /** How long a host or a device may stay away before its components are made anew elsewhere. */
  readonly repairDelayMs: number;
  /** Components that are made anew at a time, in the whole cluster. */
  readonly rebuildsAtOnce: number;
  /** Of those, that one device takes part in: they are made on it or read from it. */
  readonly rebuildsPerDevice: number;
  /** False: what is copied is copied whole, for comparison. */
  readonly offersFingerprints: boolean;
  /** Within so many days everything that is stored is read once; 0: never. */
  readonly scrubDays: number;
  /** How often the copies of each volume are compared; 0: never. */
  readonly compareHours: number;
}

const DEFAULTS: ClusterSettings = {
  repairDelayMs: 3_600_000,
  rebuildsAtOnce: 4,
  rebuildsPerDevice: 2,
  offersFingerprints: true,
  scrubDays: 14,
  compareHours: 24,
};

export async function readSettings(
  directory: Directory,
  clusterId: string,
): Promise<ClusterSettings> {
  const key = directoryKeys.settings(clusterId);
  const found = await directory.get(key);
  return found === undefined ? DEFAULTS : parse(key, found.value);
}

/** As `readSettings` reads them, for whoever looks often. */
export class SettingsMirror {
  readonly #mirror: DirectoryMirror<ClusterSettings>;

  constructor(directory: Directory, clusterId: string, clock: Clock, pulse: DirectoryPulse) {
    const prefix = directoryKeys.settings(clusterId);
    // There is one at most.
    const orderOf = (): string => "";
    this.#mirror = new DirectoryMirror({ directory, clock, prefix, pulse, parse, orderOf });
  }

  /** Fails as the directory does. */
  async value(): Promise<ClusterSettings> {
    return (await this.#mirror.values())[0] ?? DEFAULTS;
  }

  close(): void {
    this.#mirror.close();
  }
}

/** What `change` does not name stays. Fails with `record-invalid` and changes nothing. */
export async function changeSettings(
  directory: Directory,
  clusterId: string,
  change: Partial<ClusterSettings>,
): Promise<ClusterSettings> {
  const key = directoryKeys.settings(clusterId);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const found = await directory.get(key);
    const before = found === undefined ? DEFAULTS : parse(key, found.value);
    const value = JSON.stringify({ format: FORMAT, ...before, ...change });
    const next = parse(key, value);
    const condition = { key, revision: found?.revision ?? 0 };
    const outcome = await directory.transact([condition], [{ kind: "put", key, value }]);
    if (outcome.succeeded) return next;
  }
  throw new CodedError({
    code: "object-contended",
    message: "the settings of the cluster change too often",
    hint: "try again",
  });
}

function parse(key: string, text: string): ClusterSettings {
  const fields = RecordFields.parse(key, text, FORMAT);
  // Records that were written before there was such a setting do not have it.
  const later = (name: "scrubDays" | "compareHours", max: number): number =>
    fields.has(name) ? fields.integer(name, 0, max) : DEFAULTS[name];
  return {
    repairDelayMs: fields.integer("repairDelayMs", 0, REPAIR_DELAY_MS_MAX),
    rebuildsAtOnce: fields.integer("rebuildsAtOnce", 0, AT_ONCE_MAX),
    rebuildsPerDevice: fields.integer("rebuildsPerDevice", 1, AT_ONCE_MAX),
    offersFingerprints: fields.boolean("offersFingerprints"),
    scrubDays: later("scrubDays", SCRUB_DAYS_MAX),
    compareHours: later("compareHours", COMPARE_HOURS_MAX),
  };
}
