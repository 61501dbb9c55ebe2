/** What both ends of a link say of themselves before anything else is listened to. */
import { parseJson } from "./link-json.ts";
import { readVersions } from "./spoken-versions.ts";
import type { SpokenVersions } from "./spoken-versions.ts";

export interface LinkIdentity {
  readonly clusterId: string;
  readonly hostId: string;
  /** Counts the starts of the host. */
  readonly incarnation: number;
  /** Which of the networks this is. */
  readonly network: "management" | "storage";
}

/** What is told before anything else. */
export interface Hello extends LinkIdentity {
  readonly versions: SpokenVersions;
}

/** Undefined if it is none. */
export function parseHello(text: string | undefined): Hello | undefined {
  const said = text === undefined ? undefined : parseJson(text);
  if (typeof said !== "object" || said === null) return undefined;
  const fields: Partial<Record<keyof LinkIdentity | "version" | "oldestVersion", unknown>> = said;
  const { clusterId, hostId, incarnation, network, version, oldestVersion } = fields;
  if (typeof clusterId !== "string" || typeof hostId !== "string") return undefined;
  if (typeof incarnation !== "number" || !Number.isSafeInteger(incarnation)) return undefined;
  if (network !== "management" && network !== "storage") return undefined;
  const versions = readVersions(version, oldestVersion);
  return versions && { clusterId, hostId, incarnation, network, versions };
}
