/** What `TransactionSender` tells whoever it sends for. */
import type { ComponentFault } from "../store/index.ts";
import type { IoRequest } from "./io-request.ts";
import type { LegMember } from "./legs.ts";
import type { IoFault } from "./volume-io.ts";

export interface SenderEvents {
  /** Everything of the request was answered, or will never be sent; `request.fault` tells. */
  requestDone(request: IoRequest): void;
  /** Nothing may be sent any more. Called at most once. */
  failed(fault: IoFault, reason: string): void;
  /** Components were given work outside of a caller's turn: they want a `submit`. */
  submitWanted(): void;
  /**
   * A member has not done what others did. What it lacks is answered after `memberDropped` was
   * called for it: by then the directory must say that it is stale.
   */
  memberFailed(member: LegMember, fault: ComponentFault | "hung"): void;
}
