/**
 * Safety rules, taken out one at a time: if trials do not notice, they prove nothing about the
 * rule.
 */
import { ALL_RULES } from "../object/index.ts";
import type { OwnerRules } from "../object/index.ts";
import type { DeviceRules } from "../store/index.ts";
import type { ComponentRules } from "./watched-component.ts";

export interface Mutant {
  readonly name: string;
  /** What is taken out, for the table in docs/TESTING.md. */
  readonly rule: string;
  readonly owner?: Partial<OwnerRules>;
  readonly component?: Partial<ComponentRules>;
  readonly device?: Partial<DeviceRules>;
  /** Reads are answered whether or not the lease lives. */
  readonly ignoresLease?: boolean;
  /** What was had before a lease ended is had again with the next one. */
  readonly ignoresTerm?: boolean;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no-fencing",
    rule: "a component refuses owners of lower epochs",
    device: { fences: false },
  },
  {
    name: "late-stale-mark",
    rule: "a member that lacks a write is stale before the write is answered",
    owner: { marksStaleFirst: false },
  },
  { name: "no-settle", rule: "a new owner settles the tail", owner: { settlesTail: false } },
  {
    name: "destage-uncommitted",
    rule: "only what is decided is destaged",
    component: { isDestagedDecided: false },
  },
  {
    name: "stale-takes-part",
    rule: "a stale component is neither read nor counted",
    owner: { excludesStale: false },
  },
  {
    name: "unverified-catch-up",
    rule: "a component counts again when its digests agree; a part of what it is sent is lost",
    owner: { verifiesCatchUp: false },
    component: { isAppliedWhole: false },
  },
  {
    name: "live-write-overwritten",
    rule: "what is copied replaces nothing newer",
    component: { isNewestKept: false },
  },
  {
    name: "unchecked-offer",
    rule: "a copy has what it says that it has when it is offered fingerprints",
    component: { isOfferChecked: false },
  },
  {
    name: "no-lease-on-read",
    rule: "nothing is read once the lease may have ended",
    ignoresLease: true,
  },
  {
    name: "lease-of-any-term",
    rule: "a lease that is granted anew brings back nothing that was had before",
    ignoresTerm: true,
  },
  {
    name: "wrong-range",
    rule: "a source hands on only what it holds of the target's range",
    owner: { filtersByRange: false },
  },
  {
    name: "reference-without-lock",
    rule: "a reference to what is here already is taken while nothing else changes the maps",
    device: { refersAlone: false },
  },
  {
    name: "torn-snapshot",
    rule: "no change is under way while a snapshot is made of all components",
    owner: { holdsForSnapshots: false },
  },
  {
    name: "shared-page-overwritten",
    rule: "whoever changes what a snapshot shares gives it to the snapshot first",
    device: { givesPages: false },
  },
  {
    name: "marks-not-durable",
    rule: "that a copy lacks something is durable before it is sent anything",
    device: { keepsMarks: false },
  },
  {
    name: "unequal-page-shared",
    rule: "a component that was made anew shares those pages alone that are equal",
    device: { sharesEqualOnly: false },
  },
  {
    name: "hole-shared-away",
    rule: "what a component that was made anew does not have stays a hole",
    device: { keepsHoles: false },
  },
];

export function ownerRulesOf(mutant: Mutant | undefined): OwnerRules {
  return { ...ALL_RULES, ...mutant?.owner };
}
