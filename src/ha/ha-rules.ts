/** Rules that can be taken out, to see that trials notice. */
export interface HaRules {
  /** A machine that waits uses no attempt up. */
  readonly isWaitingFree: boolean;
}

export interface UnderRules {
  /** All of them are in force but in trials. */
  readonly rules?: HaRules;
}
