/** What one host knows of its own, for another host's answers. */
import { CodedError } from "../../base/index.ts";
import type { OwnerState } from "../../object/index.ts";
import { completed } from "./older-answers.ts";
import { readAnswer, readAnswers } from "./peer-answers.ts";
import { isRecord } from "../api/shape.ts";
import { statsShape, volumeIoShape } from "../api/stats-shapes.ts";
import { deviceViewShape } from "../api/view-shapes.ts";
import type { DeviceView, StatsView, VolumeIoView } from "../api/views.ts";

export interface HostPart {
  readonly owners: readonly OwnerState[];
  readonly logicalBytes: readonly (readonly [string, number])[];
  readonly componentBytes: readonly (readonly [string, number])[];
  readonly sequences: readonly (readonly [string, number])[];
  readonly stats: StatsView;
  readonly devices: readonly DeviceView[];
  /** By object, of what is attached there. */
  readonly io: readonly (readonly [string, VolumeIoView])[];
}

/**
 * `like` is this host's own: another one may be of an older version, which does not know all of it.
 * Fails with `message-invalid`.
 */
export function hostPartOf(said: unknown, like: HostPart): HostPart {
  const part: { readonly [K in keyof HostPart]: unknown } = completed(said, like);
  return {
    owners: listOf(part.owners).map(ownerOf),
    logicalBytes: numbersOf(part.logicalBytes),
    componentBytes: numbersOf(part.componentBytes),
    sequences: numbersOf(part.sequences),
    stats: readAnswer(statsShape, part.stats),
    devices: readAnswers(deviceViewShape, part.devices),
    io: listOf(part.io).map((pair) => {
      const [objectId, io] = listOf(pair);
      return [textOf(objectId), readAnswer(volumeIoShape, io)];
    }),
  };
}

/** Pairs of an id and a number, as hosts tell each other. Fails with `message-invalid`. */
export function numbersOf(said: unknown): readonly (readonly [string, number])[] {
  return listOf(said).map((pair) => {
    const [id, number] = listOf(pair);
    if (typeof number !== "number") throw unreadable();
    return [textOf(id), number];
  });
}

/** Of its tree nothing is shown: the record has it. */
function ownerOf(said: unknown): OwnerState {
  const isOwner =
    isRecord(said) &&
    typeof said["objectId"] === "string" &&
    typeof said["sizeBytes"] === "number" &&
    typeof said["epoch"] === "number" &&
    typeof said["accessible"] === "boolean" &&
    isTextOrNone(said["reason"]) &&
    listOf(said["components"]).every(isComponent);
  if (!isOwner) throw unreadable();
  return said as object as OwnerState; // As far as others rely on it.
}

function isComponent(said: unknown): boolean {
  if (!isRecord(said) || typeof said["componentId"] !== "string") return false;
  const { state, sequence, resync, blockedReason, failedAttempt } = said;
  if (!isRecord(state) || typeof state["kind"] !== "string") return false;
  if (typeof sequence !== "number") return false;
  if (!isTextOrNone(blockedReason) || !isTextOrNone(failedAttempt)) return false;
  // What it tells of progress are numbers, or nothing.
  const facts = resync === undefined || resync === null ? [] : isRecord(resync) && [resync];
  return facts !== false && facts.flatMap((one) => Object.values(one)).every(isNumberOrNone);
}

function isTextOrNone(said: unknown): boolean {
  return said === undefined || said === null || typeof said === "string";
}

function isNumberOrNone(said: unknown): boolean {
  return said === undefined || said === null || typeof said === "number";
}

function listOf(said: unknown): readonly unknown[] {
  if (Array.isArray(said)) return said;
  throw unreadable();
}

function textOf(said: unknown): string {
  if (typeof said === "string") return said;
  throw unreadable();
}

function unreadable(): CodedError {
  const message = "the host answers with what cannot be read";
  return new CodedError({ code: "message-invalid", message });
}
