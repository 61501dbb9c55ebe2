/** What an operator is told of a host's lease and of the hosts that it reaches. */
import type { HostEvent } from "./host-plane-world.ts";

export function leaseEvent(
  hostId: string,
  isAlive: boolean,
  reason: string | undefined,
): HostEvent {
  const why = reason === undefined ? "" : `: ${reason}`;
  return {
    kind: isAlive ? "lease-held" : "lease-lost",
    level: isAlive ? "info" : "error",
    message: isAlive
      ? "this host holds its lease in the directory"
      : `this host has lost its lease in the directory${why}; until it is back nothing is read`,
    details: { hostId },
  };
}

/** A host that is reached over the management network alone is not down. */
const KINDS = {
  storage: ["host-up", "host-down"],
  management: ["management-up", "management-down"],
} as const;

export function reachedEvent(
  network: keyof typeof KINDS,
  host: { readonly hostId: string; readonly name: string },
  isUp: boolean,
  reason: string | undefined,
): HostEvent {
  const [up, down] = KINDS[network];
  const { hostId, name } = host;
  return {
    kind: isUp ? up : down,
    level: isUp ? "info" : "warning",
    message: isUp
      ? `host ${name} is reachable over the ${network} network`
      : `host ${name} cannot be reached over the ${network} network: ${reason ?? "unknown"}`,
    details: { hostId },
  };
}
