/** Rules that can be taken out, to see that trials notice. */
export interface HaRules {
  /** A machine that waits uses no attempt up. */
  readonly isWaitingFree: boolean;
  /** Machines are started and resumed only under the lease under which their records were read. */
  readonly isReadUnderLease: boolean;
}

export interface UnderRules {
  /** All of them are in force but in trials. */
  readonly rules?: HaRules;
}
