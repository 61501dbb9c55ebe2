/** What hosts hear of each other on both networks, and what is made of it. */

/** What one host sees of another one. */
export interface SeenHostView {
  readonly host: string;
  readonly storage: "up" | "down";
  /** Why it is not reached over the storage network. */
  readonly reason?: string;
  /** Absent where the management network is not a second one. */
  readonly management?: "up" | "down";
}

export interface NetworkHostView {
  readonly name: string;
  readonly storageAddress?: string;
  readonly managementAddress?: string;
  /** What it sees of the others; absent if it does not answer on any network. */
  readonly sees?: readonly SeenHostView[];
}

export interface NetworkView {
  readonly hosts: readonly NetworkHostView[];
}

export type HostConditionWord =
  | "host-failed"
  | "host-silent"
  | "host-isolated"
  | "management-partition"
  | "storage-partition";

export interface HostConditionView {
  readonly kind: HostConditionWord;
  readonly hosts: readonly string[];
  readonly message: string;
  readonly meaning: string;
  readonly action: string;
}
