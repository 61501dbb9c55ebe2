/** What a host's part in the cluster needs of the world, and what it tells of. */
import type { HostVerdict, SpokenVersions } from "../link/index.ts";
import type { OwnerEvent, OwnerRules } from "../object/index.ts";
import type { Clock, Directory, Log, Network, NetworkAddress } from "../ports/index.ts";
import type { LocalDevices } from "./component-maker.ts";
import type { DeviceEvent } from "./device-register.ts";
import type { Latencies } from "./resync-pace.ts";
import type { ScrubEvent } from "./scrub-duty.ts";

export interface HostPlaneWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly network: Network;
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly hostName: string;
  readonly faultDomain: string;
  /** As in `HostRecord`. */
  readonly clusterVersion?: number;
  readonly programVersion?: string;
  readonly incarnation: number;
  readonly devices: LocalDevices;
  readonly newId: () => string;
  readonly parseAddress: (text: string) => NetworkAddress;
  readonly formatAddress: (address: NetworkAddress) => string;
  readonly addEvent: (event: OwnerEvent | HostEvent | DeviceEvent | ScrubEvent) => void;
  /** What another network tells of a host. */
  readonly elsewhere?: (hostId: string) => Promise<HostVerdict>;
  readonly rules?: OwnerRules;
  /** For blocks that were read from other hosts; 0 keeps none. */
  readonly farBytes?: number;
  /** Versions of the messages between hosts; those of this program if absent. */
  readonly speaks?: SpokenVersions;
  /** Of requests to the volumes that are attached here; they come before what is copied. */
  readonly latencies?: () => Latencies;
  /** As `ScrubDutyWorld.timesSooner`. */
  readonly scrubTimesSooner?: number | undefined;
}

export interface HostEvent {
  readonly kind:
    | "host-up"
    | "host-down"
    | "lease-lost"
    | "lease-held"
    | "management-up"
    | "management-down";
  readonly level: "info" | "warning" | "error";
  readonly message: string;
  readonly details: Readonly<Record<string, string | number>>;
}
