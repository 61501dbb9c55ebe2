/**
 * The replacement of a cluster's authority, step by step, while the cluster runs:
 *
 *   trust   every host believes the old authority and the new one
 *   issue   every host has a certificate that the new one has signed
 *   drop    every host believes the new one alone
 *   done
 *
 * A step is over when every host that is a member has said that it has taken it; nobody goes on
 * before that, so that at each moment any two hosts believe each other. A host that does not come
 * back is taken out of the cluster, and is not waited for any more.
 */
import { CodedError } from "../base/index.ts";
import type { Directory, DirectoryCondition } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { listHosts } from "./host-record.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
const PEM_LENGTH_MAX = 32 * 1024;
const REASON_LENGTH_MAX = 1000;

export const ROTATION_STEPS = ["trust", "issue", "drop", "done"] as const;
export type RotationStep = (typeof ROTATION_STEPS)[number];

export interface AuthorityRotation {
  /** Counts the replacements of this cluster's authority, those that were given up included. */
  readonly generation: number;
  readonly step: RotationStep;
  /** Not to go beyond `trust` before somebody says so: clients of the API get the new one first. */
  readonly isHeld: boolean;
  /** The host that has the key of the new authority. */
  readonly keyHostId: string;
  /** Milliseconds since 1970. */
  readonly startedMs: number;
  /** All that were believed before, one after the other. */
  readonly oldPem: string;
  readonly newPem: string;
}

/** How far one host is. */
export interface RotationProgress {
  readonly hostId: string;
  readonly generation: number;
  /** The last one that it has taken; undefined before the first one. */
  readonly step: RotationStep | undefined;
  /** Why it does not take the next one. */
  readonly reason: string | undefined;
}

export interface RotationState {
  readonly rotation: AuthorityRotation;
  readonly revision: number;
  readonly progress: readonly RotationProgress[];
}

/** Undefined in a cluster that still has its first authority. */
export async function readRotation(
  directory: Directory,
  clusterId: string,
): Promise<RotationState | undefined> {
  const { records } = await directory.list(directoryKeys.authorities(clusterId));
  const own = directoryKeys.rotation(clusterId);
  const found = records.find(({ key }) => key === own);
  if (found === undefined) return undefined;
  const progress = records
    .filter(({ key }) => key !== own)
    .map(({ key, value }) => progressOf(key, value));
  return { rotation: rotationOf(own, found.value), revision: found.revision, progress };
}

/** Fails with `rotation-contended` if it has changed since it was read at `revision`. */
export async function putRotation(
  directory: Directory,
  clusterId: string,
  rotation: AuthorityRotation,
  revision: number,
): Promise<void> {
  const key = directoryKeys.rotation(clusterId);
  const value = JSON.stringify({ format: FORMAT, ...rotation });
  const condition: DirectoryCondition = { key, revision };
  const outcome = await directory.transact([condition], [{ kind: "put", key, value }]);
  if (outcome.succeeded) return;
  throw new CodedError({
    code: "rotation-contended",
    message: "the replacement of the authority was moved on by another host at the same moment",
    hint: "drystone certificate show tells how far it is",
  });
}

export async function putRotationProgress(
  directory: Directory,
  clusterId: string,
  { hostId, generation, step, reason }: RotationProgress,
): Promise<void> {
  const key = directoryKeys.rotationAt(clusterId, hostId);
  const said = reason?.slice(0, REASON_LENGTH_MAX);
  const value = JSON.stringify({ format: FORMAT, hostId, generation, step, reason: said });
  await directory.transact([], [{ kind: "put", key, value }]);
}

/** Whether a host has taken the present step. */
export function hasTaken(
  { rotation, progress }: Pick<RotationState, "rotation" | "progress">,
  hostId: string,
): boolean {
  const own = progress.find((one) => one.hostId === hostId);
  if (own?.generation !== rotation.generation || own.step === undefined) return false;
  return ROTATION_STEPS.indexOf(own.step) >= ROTATION_STEPS.indexOf(rotation.step);
}

/** Ids of the hosts that are waited for. */
export async function rotationWaitsFor(
  directory: Directory,
  clusterId: string,
  state: RotationState,
): Promise<readonly string[]> {
  if (state.rotation.step === "done") return [];
  const hosts = await listHosts(directory, clusterId);
  return hosts.map(({ hostId }) => hostId).filter((hostId) => !hasTaken(state, hostId));
}

/** Undefined where nothing comes after it, or nothing yet. */
export function nextStep({ step, isHeld }: AuthorityRotation): RotationStep | undefined {
  if (step === "trust" && isHeld) return undefined;
  return ROTATION_STEPS[ROTATION_STEPS.indexOf(step) + 1];
}

function rotationOf(key: string, value: string): AuthorityRotation {
  const fields = RecordFields.parse(key, value, FORMAT);
  return {
    generation: fields.integer("generation", 1, Number.MAX_SAFE_INTEGER),
    step: fields.oneOf("step", ROTATION_STEPS),
    isHeld: fields.boolean("isHeld"),
    keyHostId: fields.text("keyHostId"),
    startedMs: fields.integer("startedMs", 0, Number.MAX_SAFE_INTEGER),
    oldPem: fields.text("oldPem", PEM_LENGTH_MAX),
    newPem: fields.text("newPem", PEM_LENGTH_MAX),
  };
}

function progressOf(key: string, value: string): RotationProgress {
  const fields = RecordFields.parse(key, value, FORMAT);
  return {
    hostId: fields.text("hostId"),
    generation: fields.integer("generation", 1, Number.MAX_SAFE_INTEGER),
    step: fields.has("step") ? fields.oneOf("step", ROTATION_STEPS) : undefined,
    reason: fields.has("reason") ? fields.text("reason") : undefined,
  };
}
