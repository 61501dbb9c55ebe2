/**
 * Which keys go with which lease: bounded, for they all go in one revision, whose length counts.
 */
import { CodedError } from "../base/index.ts";
import type { DirectoryWrite } from "../ports/index.ts";
import type { DirectoryRow } from "./directory-rows.ts";

/** A host has a handful. */
export const LEASE_KEYS_MAX = 1024;

export class LeasedKeys {
  readonly #keys = new Map<number, Set<string>>();

  of(leaseId: number): Iterable<string> {
    return this.#keys.get(leaseId) ?? [];
  }

  /** A record has taken another one's place, come or gone. */
  changed(previous: DirectoryRow | undefined, row: DirectoryRow | undefined): void {
    if (previous?.leaseId !== undefined) this.#remove(previous.leaseId, previous.key);
    if (row?.leaseId === undefined) return;
    const keys = this.#keys.get(row.leaseId);
    if (keys === undefined) this.#keys.set(row.leaseId, new Set([row.key]));
    else keys.add(row.key);
  }

  #remove(leaseId: number, key: string): void {
    const keys = this.#keys.get(leaseId);
    keys?.delete(key);
    if (keys?.size === 0) this.#keys.delete(leaseId);
  }

  /** Fails with `lease-full`. */
  requireRoom(writes: readonly DirectoryWrite[]): void {
    const added = new Map<string, number>();
    for (const write of writes) {
      if (write.kind !== "put" || write.lease === undefined) continue;
      const keys = this.#keys.get(Number(write.lease));
      if (keys?.has(write.key) === true) continue;
      const count = (added.get(write.lease) ?? 0) + 1;
      added.set(write.lease, count);
      if ((keys?.size ?? 0) + count <= LEASE_KEYS_MAX) continue;
      const message = `the lease ${write.lease} has ${LEASE_KEYS_MAX} keys, and takes no more`;
      throw new CodedError({ code: "lease-full", message });
    }
  }
}
