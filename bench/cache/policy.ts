/** What the cache simulator asks of a replacement policy. Keys are dense: 0 to uniqueCount - 1. */
export interface Policy {
  /** One access. True if the key was resident; if not, it is afterwards. */
  access(key: number): boolean;
}

export interface PolicySetting {
  /** Number of keys that may be resident at once. */
  readonly capacity: number;
  readonly uniqueCount: number;
  /** All that will be accessed, in order: for Belady alone. */
  readonly trace: Uint32Array;
}

export type PolicyFactory = (setting: PolicySetting) => Policy;
