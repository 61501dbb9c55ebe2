/** What both ends of a link say of themselves before anything else is listened to. */
import { CodedError } from "../base/index.ts";
import type { StreamPeer } from "../ports/index.ts";
import { parseJson } from "./link-json.ts";
import { commonVersion, describeVersions, readVersions } from "./spoken-versions.ts";
import type { SpokenVersions } from "./spoken-versions.ts";

/** Refusals quote identities: they are 32 characters long. */
const ID_LENGTH_MAX = 64;

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
  if (!isId(clusterId) || !isId(hostId)) return undefined;
  if (typeof incarnation !== "number" || !Number.isSafeInteger(incarnation)) return undefined;
  if (network !== "management" && network !== "storage") return undefined;
  const versions = readVersions(version, oldestVersion);
  return versions && { clusterId, hostId, incarnation, network, versions };
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value.length <= ID_LENGTH_MAX;
}

/**
 * The version that is spoken with who said `hello`. Fails with `link-refused`. `peer` is what the
 * other end has proven to be, on a network that asks for that.
 */
export function versionOrRefusal(own: Hello, hello: Hello, peer: StreamPeer | undefined): number {
  const refuse = (message: string): never => {
    throw new CodedError({ code: "link-refused", message });
  };
  if (hello.clusterId !== own.clusterId)
    refuse(`the host belongs to cluster ${hello.clusterId}, not to ${own.clusterId}`);
  if (hello.network !== own.network)
    refuse(`this is the ${own.network} network, not the ${hello.network} network`);
  if (hello.hostId === own.hostId) refuse("the host is this one");
  // On a network that asks for proof a host speaks for itself alone.
  const isProven = peer?.clusterId === hello.clusterId && peer.hostId === hello.hostId;
  if (peer !== undefined && !isProven)
    refuse(`it says that it is host ${hello.hostId}, its certificate is of ${peer.hostId}`);
  const spoken = commonVersion(own.versions, hello.versions);
  if (spoken !== undefined) return spoken;
  const others = `host ${hello.hostId} speaks ${describeVersions(hello.versions)}`;
  const ours = `host ${own.hostId} ${describeVersions(own.versions)}`;
  return refuse(`${others} of the messages between hosts, ${ours}: upgrade the older one`);
}
