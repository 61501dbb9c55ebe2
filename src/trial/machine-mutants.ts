/** Rules of virtual machines, taken out one at a time. */
export interface MachineMutant {
  readonly name: string;
  /** What is taken out, for the table in docs/TESTING.md. */
  readonly rule: string;
  readonly startsWithoutOwnership?: boolean;
  readonly runsWithoutLease?: boolean;
  readonly isWaitingAnAttempt?: boolean;
  readonly actsOnOldRecords?: boolean;
  readonly startsAgainByOldRecords?: boolean;
  readonly isProtectedAtOnce?: boolean;
  readonly waitsSinceInsert?: boolean;
  readonly asksNobodyElse?: boolean;
  readonly isDeafToStorage?: boolean;
  readonly overwritesRecords?: boolean;
  readonly takesFromTheLiving?: boolean;
  readonly placesBeforeItEnds?: boolean;
  readonly admitsBySums?: boolean;
  readonly decidesWithoutOffice?: boolean;
  readonly takesWhileDisarmed?: boolean;
  readonly armedAsItWas?: boolean;
  readonly unboundInSilence?: boolean;
  readonly endsTheUnreadable?: boolean;
}

export const MACHINE_MUTANTS: readonly MachineMutant[] = [
  {
    name: "start-without-ownership",
    rule: "a start takes the machine's disks with a higher epoch",
    startsWithoutOwnership: true,
  },
  {
    name: "run-without-lease",
    rule: "machines stand still once their host's lease may have ended",
    runsWithoutLease: true,
  },
  {
    name: "waiting-uses-attempts",
    rule: "a machine that waits uses no attempt up",
    isWaitingAnAttempt: true,
  },
  {
    name: "acts-on-old-records",
    rule: "machines are started and resumed only under the lease their records were read under",
    actsOnOldRecords: true,
  },
  {
    name: "starts-again-by-old-records",
    rule: "a machine is started by records that were read after its last start there had ended",
    startsAgainByOldRecords: true,
  },
  {
    name: "protected-before-persisted",
    rule: "a machine counts as protected only once its home says so",
    isProtectedAtOnce: true,
  },
  {
    name: "query-after-insert",
    rule: "a machine waits for what has changed since hosts were asked about it",
    waitsSinceInsert: true,
  },
  {
    name: "no-requery-across-partitions",
    rule: "hosts on other sides of the storage network are asked, too",
    asksNobodyElse: true,
  },
  {
    name: "deaf-to-storage",
    rule: "a host that has lost its lease and is heard in storage is called isolated, not failed",
    isDeafToStorage: true,
  },
  {
    name: "record-overwritten",
    rule: "what the master decides is written only if the record is as it has read it",
    overwritesRecords: true,
  },
  {
    name: "taken-from-the-living",
    rule: "a machine is taken from a host only if that one's lease is gone at that moment",
    takesFromTheLiving: true,
  },
  {
    name: "placed-before-it-ends",
    rule: "a machine whose host loses its storage is placed anew only once it has ended there",
    placesBeforeItEnds: true,
  },
  {
    name: "admitted-by-sums",
    rule: "a start is admitted if the machines of each host find a place elsewhere",
    admitsBySums: true,
  },
  {
    name: "decided-without-office",
    rule: "machines are placed and sent away only by who has the office at that moment",
    decidesWithoutOffice: true,
  },
  {
    name: "taken-while-disarmed",
    rule: "nothing is taken from a host while high availability is disarmed",
    takesWhileDisarmed: true,
  },
  {
    name: "armed-as-it-was",
    rule: "a machine is taken from a host only if nobody has disarmed since the master has looked",
    armedAsItWas: true,
  },
  {
    name: "unbound-in-silence",
    rule: "a host says so before it lets machines run on without its lease",
    unboundInSilence: true,
  },
  {
    name: "ends-the-unreadable",
    rule: "a machine whose record cannot be read is left as it is",
    endsTheUnreadable: true,
  },
];
