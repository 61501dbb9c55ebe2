/** What a volume is told by whoever owns its object. */
import type { DiskMemory } from "../ports/index.ts";
import type { ComponentFault } from "../store/index.ts";
import type { LegMember, Legs } from "./legs.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";
import type { IoFault } from "./volume-io.ts";

export interface VolumeOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly epoch: number;
  /** The highest sequence that any component holds. */
  readonly lastSequence: number;
  readonly legs: Legs;
  readonly allocate: (lengthBytes: number) => DiskMemory;
  /** Shared with other volumes; otherwise it has its own. */
  readonly scratch?: ScratchBlocks;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly isLeaseAlive: () => boolean;
  /** Called once if the volume stops by itself. */
  readonly onStopped: (fault: IoFault, reason: string) => void;
  /**
   * A member lacks what others have. Called as often as that is noticed; what it lacks is answered
   * after `memberDropped`.
   */
  readonly onMemberFailed: (member: LegMember, fault: MemberFault) => void;
  /** A bad copy of these blocks was found beside a good one. */
  readonly onDamage: (firstBlock: number, endBlock: number) => void;
}

export type MemberFault = ComponentFault | "hung" | "missing";
