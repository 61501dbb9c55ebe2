/** Virtual time, and rules as sentences. */
export function clock(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** By the names of the trial's mutants; "" is the product as it is. */
export const rules: readonly (readonly [name: string, rule: string])[] = [
  ["", "none: the product as it is"],
  ["no-fencing", "a component refuses owners of lower epochs"],
  ["late-stale-mark", "a member that lacks a write is stale before the write is answered"],
  ["no-settle", "a new owner settles the tail"],
  ["destage-uncommitted", "only what is decided is destaged"],
  ["stale-takes-part", "a stale component is neither read nor counted"],
  ["unverified-catch-up", "a component counts again when its digests agree"],
  ["live-write-overwritten", "what is copied replaces nothing newer"],
  ["unchecked-offer", "a copy has what it says that it has when it is offered fingerprints"],
  ["no-lease-on-read", "nothing is read once the lease may have ended"],
  ["lease-of-any-term", "a lease that is granted anew brings back nothing of before"],
  ["wrong-range", "a source hands on only what it holds of the target's range"],
  ["reference-without-lock", "a reference is taken while nothing else changes the maps"],
  ["torn-snapshot", "no change is under way while a snapshot is made of all components"],
  ["shared-page-overwritten", "what a snapshot shares is given to it before it changes"],
  ["marks-not-durable", "that a copy lacks something is kept through every crash"],
  ["unequal-page-shared", "what was made anew shares only pages that are equal"],
  ["hole-shared-away", "what a component that was made anew does not have stays a hole"],
];
