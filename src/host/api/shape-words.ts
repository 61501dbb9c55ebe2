/** Words in which shapes of requests and answers are said. */
import { VOLUME_SIZE_BYTES_MAX, formatSize } from "../../base/index.ts";
import { NAME_LENGTH_MAX } from "../names.ts";
import type {
  BooleanShape,
  ChoiceShape,
  IntegerShape,
  ListShape,
  NumberShape,
  RecordShape,
  ShapeOf,
  TextShape,
} from "./shape.ts";

/** No answer lists more than this of anything. */
const LIST_COUNT_MAX = 100_000;
const TEXT_LENGTH_MAX = 4096;
const LARGEST: string = formatSize(VOLUME_SIZE_BYTES_MAX);
export const VOLUME_SIZE_DESCRIPTION: string = `Bytes, a multiple of 512, at most ${LARGEST}`;

export interface Required<S> {
  readonly optional: false;
  readonly shape: S;
}

export interface Optional<S> {
  readonly optional: true;
  readonly shape: S;
}

export function must<S>(shape: S): Required<S> {
  return { optional: false, shape };
}

export function may<S>(shape: S): Optional<S> {
  return { optional: true, shape };
}

export function text(description: string): TextShape {
  return { kind: "text", lengthMax: TEXT_LENGTH_MAX, description };
}

export function count(description: string): IntegerShape {
  return { kind: "integer", min: 0, max: Number.MAX_SAFE_INTEGER, description };
}

export function flag(description: string): BooleanShape {
  return { kind: "boolean", description };
}

export function number(description: string): NumberShape {
  return { kind: "number", description };
}

export function choice<T extends string>(
  description: string,
  values: readonly T[],
): ChoiceShape<T> {
  return { kind: "choice", values, description };
}

export function record(description: string): RecordShape {
  return { kind: "record", description };
}

export function list<T>(description: string, of: ShapeOf<T>): ListShape<T> {
  return { kind: "list", countMax: LIST_COUNT_MAX, of, description };
}

/**
 * The rule for names of volumes is the cluster floor's: it refuses with a code of its own, as for
 * sizes.
 */
export function volumeName(description: string): TextShape {
  return { kind: "text", lengthMax: NAME_LENGTH_MAX, description, example: "web1" };
}

export function volumeSize(description: string): IntegerShape {
  return {
    kind: "integer",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    description,
    example: 10 * 2 ** 30,
  };
}
