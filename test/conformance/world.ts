import { test } from "../support/test.ts";

/** What every suite asks of the place where an adapter runs. */
export interface World {
  /** Lets the work run to its end: drives virtual time where there is one. */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** Removes what is left. */
  dispose(): Promise<void>;
}

/** A promise of the port as a sentence, and how it is checked. */
export type Promises<W extends World> = Record<string, (world: W) => Promise<void>>;

/** Registers each promise as a test that has a world of its own. */
export function registerSuite<W extends World>(
  name: string,
  open: () => Promise<W>,
  groups: readonly Promises<W>[],
): void {
  for (const group of groups) {
    for (const [promise, check] of Object.entries(group)) {
      test(`${name}: ${promise}`, async () => {
        const world = await open();
        try {
          await world.run(() => check(world));
        } finally {
          await world.dispose();
        }
      });
    }
  }
}
