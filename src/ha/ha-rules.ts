/** Rules that can be taken out, to see that trials notice. */
export interface HaRules {
  /** A machine that waits uses no attempt up. */
  readonly isWaitingFree: boolean;
  /** Machines are started and resumed only under the lease under which their records were read. */
  readonly isReadUnderLease: boolean;
  /** A machine is started by records that were read after its last start here had ended. */
  readonly isReadAfterStarts: boolean;
  /** A machine counts as protected only once its home in the object store says so. */
  readonly isPersistedFirst: boolean;
  /** A machine waits for what has changed since others were asked, not since it was put on hold. */
  readonly isWaitingSinceAsked: boolean;
  /** What the master's own storage layer does not reach is asked of other hosts'. */
  readonly areOthersAsked: boolean;
  /** What the master has decided is written only if the record is the one that it has read. */
  readonly isComparedFirst: boolean;
  /** A machine is taken from a host only if that one's lease is gone at that moment. */
  readonly isLeaseGoneFirst: boolean;
  /** A machine whose host loses its storage is placed anew only once that host has ended it. */
  readonly isEndedFirst: boolean;
  /** Whoever places machines, or sends them away, still has the office at that moment. */
  readonly isOfficeHeld: boolean;
  /** While high availability is disarmed nothing is taken from a host that has failed. */
  readonly isDisarmedHeeded: boolean;
  /** What is taken from a host is taken only if nobody has disarmed since the master has looked. */
  readonly isArmedStill: boolean;
  /** A host says so before it lets machines run on without its lease. */
  readonly isUnboundTold: boolean;
  /** A machine whose record cannot be read is left as it is. */
  readonly isUnreadableLeft: boolean;
  /** Whether a host that has failed was still heard in storage counts for the reason. */
  readonly areHeartbeatsHeard: boolean;
}

export interface UnderRules {
  /** All of them are in force but in trials. */
  readonly rules?: HaRules;
}
