/** What a check of the cluster's health is, and what it looks at. */
import type { RotationView } from "../certificates/certificate-views.ts";
import type { DirectoryView } from "../directory/directory-views.ts";
import type { ResyncView } from "../upkeep/repair-views.ts";
import type {
  AttachmentView,
  DeviceView,
  EventView,
  HealthSeverity,
  HostView,
  StatsView,
  UnreadableVmView,
  VmView,
  VolumeView,
} from "../api/views.ts";

export interface HealthFacts {
  /** The host that judges. */
  readonly hostId: string;
  readonly hosts: readonly HostView[];
  readonly devices: readonly DeviceView[];
  readonly volumes: readonly VolumeView[];
  readonly attachments: readonly AttachmentView[];
  /**
   * The newest event of each kind of fault since the host started or the device was scrubbed clean.
   */
  readonly faults: readonly EventView[];
  readonly resyncs: readonly ResyncView[];
  readonly vms: readonly VmView[];
  /** Of those their records say nothing that this program understands. */
  readonly unreadableVms?: readonly UnreadableVmView[] | undefined;
  /** Undefined where nobody asked for it. */
  readonly stats: StatsView | undefined;
  readonly machine: MachineFacts | undefined;
  /** Undefined where no host of the cluster runs it. */
  readonly directory: DirectoryView | undefined;
  /** Which formats the cluster uses; undefined until the directory has told. */
  readonly clusterVersion?: number | undefined;
  /** Undefined while the cluster's authority is not replaced. */
  readonly rotation?: RotationView | undefined;
}

/** Of the machine and the process of the host that judges. */
/** In bytes. */
export interface MemoryFacts {
  /** What the host's process plans to have resident at the most. */
  readonly planBytes: number;
  /** What the machine has, or less where the process is in a control group with a limit. */
  readonly limitBytes: number;
  /** `memory` of the configuration, and what of it the host's devices can use. */
  readonly configuredBytes: number;
  readonly usedBytes: number;
}

export interface MachineFacts {
  readonly nowMs: number;
  readonly stateFreeBytes: number;
  readonly stateSizeBytes: number;
  readonly memory: MemoryFacts;
  /** When the host's certificate ends; undefined without one. */
  readonly certificateEndsMs: number | undefined;
  /** Why the host cannot serve encrypted volumes; undefined if it has a cluster key. */
  readonly keyReason: string | undefined;
}

export interface HealthFinding {
  /** What it is about: the same as long as it is the same trouble. */
  readonly subject: string;
  readonly message: string;
  /** What to do, where that depends; otherwise the check's. */
  readonly action?: string;
}

export interface HealthCheck {
  readonly id: string;
  /** "note": worth knowing, and no reason to call the cluster degraded. */
  readonly severity: HealthSeverity;
  readonly meaning: string;
  readonly action: string;
  readonly find: (facts: HealthFacts) => readonly HealthFinding[];
}

/** For each of `all` that is so, a finding. */
export function each<T>(
  all: readonly T[],
  isSo: (one: T) => boolean,
  finding: (one: T) => HealthFinding,
): readonly HealthFinding[] {
  return all.filter(isSo).map(finding);
}
