/**
 * Whether processes keep to what they plan to have in memory. A line through samples does not see
 * what grows in steps, and calls what is still filling a leak; the plan says where it has to end.
 */
import type { MemoryPlan } from "../../src/host/data/memory-plan.ts";

/** What is measured may be so much above what is planned. */
const SLACK = 1.1;
/** Looks that follow each other; a moment is none. */
const LOOKS_MIN = 3;
const KINDS = ["private", "resident"] as const;

type Kind = (typeof KINDS)[number];

export interface Taken {
  readonly anonymousBytes: number;
  readonly residentBytes: number;
}

interface Followed {
  readonly plan: Readonly<Record<Kind, number>>;
  readonly most: Record<Kind, number>;
  /** Looks in a row that found more than is planned. */
  readonly inARow: Record<Kind, number>;
  readonly isBeyond: Record<Kind, boolean>;
}

export class PlannedMemory {
  readonly #followed = new Map<string, Followed>();

  look(of: string, taken: Taken, plan: Pick<MemoryPlan, "privateBytes" | "residentBytes">): void {
    const followed = this.#followed.get(of) ?? {
      plan: { private: plan.privateBytes, resident: plan.residentBytes },
      most: { private: 0, resident: 0 },
      inARow: { private: 0, resident: 0 },
      isBeyond: { private: false, resident: false },
    };
    this.#followed.set(of, followed);
    const now = { private: taken.anonymousBytes, resident: taken.residentBytes };
    for (const kind of KINDS) {
      followed.most[kind] = Math.max(followed.most[kind], now[kind]);
      const isMore = now[kind] > SLACK * followed.plan[kind];
      followed.inARow[kind] = isMore ? followed.inARow[kind] + 1 : 0;
      if (followed.inARow[kind] >= LOOKS_MIN) followed.isBeyond[kind] = true;
    }
  }

  /** The most that each process had, and what it planned. */
  get told(): readonly string[] {
    return [...this.#followed].map(
      ([of, followed]) => `${of}: ${KINDS.map((kind) => text(followed, kind)).join(", ")}`,
    );
  }

  /** Processes that stayed above their plan. */
  get beyond(): readonly string[] {
    return [...this.#followed].flatMap(([of, followed]) =>
      KINDS.filter((kind) => followed.isBeyond[kind]).map(
        (kind) => `${of} memory beyond its plan: ${text(followed, kind)}`,
      ),
    );
  }
}

function text({ most, plan }: Followed, kind: Kind): string {
  return `${megabytes(most[kind])} ${kind} of ${megabytes(plan[kind])} planned`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
