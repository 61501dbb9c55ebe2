/** What the API shows and takes about repairs, and about hosts and devices that leave. */
import type { ServiceMode } from "../../cluster/index.ts";

export interface ResyncView {
  readonly volume: string;
  readonly componentId: string;
  /**
   * "rebuild": made anew; "move": leaves a device; "catch-up": gets what it missed;
   * "policy-change": made for another policy.
   */
  readonly kind: "rebuild" | "move" | "catch-up" | "policy-change";
  /** "waiting": others come first, or its host is away; "blocked": no device may take it. */
  readonly state: "running" | "waiting" | "blocked";
  /** Where it is made, or where it is. */
  readonly host: string;
  readonly device: string;
  /** The host whose component it takes the place of. */
  readonly from?: string;
  /**
   * Of what its sources have, how much was looked at, in the attempt that came furthest: 0 to 1.
   */
  readonly share?: number;
  /** These three: in all attempts since the volume has the owner that it has. */
  readonly bytesNeeded: number;
  readonly bytesSent: number;
  readonly bytesSkipped: number;
  /** As long as it goes on as it has so far. */
  readonly secondsLeft?: number;
  readonly reason?: string;
}

export interface ResyncList {
  readonly resyncs: readonly ResyncView[];
}

export interface VolumeSetRequest {
  readonly name: string;
  readonly failuresToTolerate?: number;
  readonly stripes?: number;
  /** Refused, unless the volume is encrypted already. */
  readonly encrypted?: boolean;
}

export interface SettingsView {
  readonly repairDelaySeconds: number;
  readonly rebuildsAtOnce: number;
  readonly rebuildsPerDevice: number;
  /** "off": what is copied is copied whole, for comparison. */
  readonly fingerprints: "on" | "off";
  /** Within so many days everything that is stored is read once; 0: never. */
  readonly scrubDays: number;
  /** How often the copies of each volume are compared; 0: never. */
  readonly compareHours: number;
}

export interface SettingsChangeRequest {
  readonly repairDelaySeconds?: number;
  readonly rebuildsAtOnce?: number;
  readonly rebuildsPerDevice?: number;
  readonly fingerprints?: "on" | "off";
  readonly scrubDays?: number;
  readonly compareHours?: number;
}

export interface MaintenanceOnRequest {
  readonly name: string;
  readonly mode?: ServiceMode;
  readonly dryRun?: boolean;
}

export interface DeviceRemoveRequest {
  readonly device: string;
  readonly dryRun?: boolean;
}

export interface DeviceAddRequest {
  /** A directory or a block device of the host that is asked. */
  readonly path: string;
  readonly sizeBytes?: number;
}

export interface DeviceRequest {
  readonly device: string;
}

/** What becomes of one component of a host or device that leaves. */
export interface LeavingView {
  readonly volume: string;
  readonly componentId: string;
  readonly what: "moves" | "stays" | "stuck";
  /** Bytes that a copy of it would have to hold; what is there already is not sent. */
  readonly bytes: number;
  /** Where it would go. */
  readonly host?: string;
  readonly device?: string;
}

/** What happens, or would happen, when a host or a device leaves. */
export interface ServicePlanView {
  readonly kind: "host" | "device";
  readonly id: string;
  readonly host: string;
  readonly mode: ServiceMode;
  readonly isDryRun: boolean;
  /** Nothing has to leave: it may be stopped or taken out. */
  readonly isReady: boolean;
  readonly components: readonly LeavingView[];
  /** Of all that move: at most so many are sent. */
  readonly bytesAtMost: number;
  /** At the speed of this host's last rebuilds; absent if there was none. */
  readonly secondsAtMost?: number;
  /** Volumes that cannot be used while it is away. */
  readonly unusable: readonly string[];
  /** Volumes that survive no further failure while it is away. */
  readonly atRisk: readonly string[];
  /** Of a dry run: why it would be refused, and what would help. */
  readonly refusal?: string;
}
