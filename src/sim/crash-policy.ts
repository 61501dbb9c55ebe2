/**
 * What is left of unflushed requests after a power cut.
 *
 * - "all": everything requested is there. This is also what a killed process leaves behind: the
 *   operating system lives on and finishes.
 * - "none": nothing that was not flushed.
 * - "prefix": the first `requests` unflushed requests of the machine (disk writes, punches and
 *   metadata batches together, in the order they were made), and of the one after them its
 *   first `sectorsOfNext` sectors if it is a write.
 * - "random": each unflushed write by chance whole, absent, or any subset of its sectors; of
 *   the metadata batches a random number of the first ones.
 */
export type CrashPolicy =
  | { readonly kind: "all" }
  | { readonly kind: "none" }
  | { readonly kind: "prefix"; readonly requests: number; readonly sectorsOfNext?: number }
  | { readonly kind: "random"; readonly seed: number };

/** A policy, applied to one medium of the machine: operations below `before` survive whole. */
export type Survival =
  | { readonly kind: "prefix"; readonly before: number; readonly sectorsOfNext: number }
  | { readonly kind: "random"; readonly seed: number };

/** `unflushed`: the numbers of the machine's unflushed operations, in order. */
export function survivalOf(policy: CrashPolicy, unflushed: readonly number[]): Survival {
  switch (policy.kind) {
    case "all":
      return { kind: "prefix", before: Infinity, sectorsOfNext: 0 };
    case "none":
      return { kind: "prefix", before: 0, sectorsOfNext: 0 };
    case "prefix":
      return {
        kind: "prefix",
        before: unflushed[policy.requests] ?? Infinity,
        sectorsOfNext: policy.sectorsOfNext ?? 0,
      };
    case "random":
      return { kind: "random", seed: policy.seed };
  }
}
