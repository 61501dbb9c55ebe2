/** Links know hosts by their ids; people know them by their names. */
import type { Fault } from "../../base/index.ts";

/** A fault of a link with the host's name in place of its id; others as they are. */
export function withHostName(fault: Fault, nameOf: (hostId: string) => string): Fault {
  const hostId = fault.details?.["hostId"];
  if (fault.code !== "host-unreachable" || typeof hostId !== "string") return fault;
  return { ...fault, message: fault.message.replace(hostId, nameOf(hostId)) };
}
