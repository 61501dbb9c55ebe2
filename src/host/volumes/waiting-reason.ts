/** Why a component is not good yet, in words that say what would help. */
import type { ComponentRecord } from "../../cluster/index.ts";
import type { ComponentOwnerState, OwnerState } from "../../object/index.ts";

export interface WaitingWorld {
  nameOf(hostId: string): string;
  isReachable(hostId: string): boolean;
}

/**
 * Undefined if it is good, or is being brought to the present. `owner` is what the volume's owner
 * says, if it has one that answers, and `known` what it says of the component.
 */
export function waitingReason(
  world: WaitingWorld,
  entry: ComponentRecord,
  owner: OwnerState | undefined,
  known: ComponentOwnerState | undefined,
): string | undefined {
  if (known?.blockedReason !== undefined) return known.blockedReason;
  if (known?.isCatchingUp === true) return undefined;
  const { kind } = known?.state ?? entry.state;
  if (!world.isReachable(entry.hostId)) {
    const elsewhere =
      kind === "building" || kind === "joining"
        ? "or it is made elsewhere after a minute"
        : "if another copy is left, this one is made anew elsewhere when the repair delay is over";
    return `host ${world.nameOf(entry.hostId)} cannot be reached: start it again; ${elsewhere}`;
  }
  if (kind === "active") return undefined;
  if (owner === undefined) return "nobody uses the volume; a host that holds it takes it soon";
  if (kind === "joining") return "others come first, or it waits for the rest of the change";
  const again = "it is tried again in a moment";
  const failed = known?.failedAttempt;
  return typeof failed === "string" ? `${failed}; ${again}` : again;
}
