/**
 * Shapes: what a request, a response or a configuration file looks like, as data. One shape checks
 * what comes in, words the refusal, fills the documentation's tables and later the OpenAPI file.
 *
 * A shape is typed by the value it describes (`ShapeOf<T>`), so an interface and its shape cannot
 * drift apart. A check names every problem it finds, not only the first.
 */
import { CodedError } from "../../base/index.ts";

interface Described {
  readonly description: string;
  readonly example?: string | number | boolean;
}

export interface TextShape extends Described {
  readonly kind: "text";
  readonly lengthMax: number;
  /** Says why a text of acceptable length is refused, or undefined. */
  readonly invalid?: (text: string) => string | undefined;
}

export interface ChoiceShape<T extends string = string> extends Described {
  readonly kind: "choice";
  readonly values: readonly T[];
}

export interface IntegerShape extends Described {
  readonly kind: "integer";
  readonly min: number;
  readonly max: number;
  readonly invalid?: (value: number) => string | undefined;
}

/** A number that need not be whole. */
export interface NumberShape extends Described {
  readonly kind: "number";
}

export interface BooleanShape extends Described {
  readonly kind: "boolean";
}

export interface ListShape<T = unknown> extends Described {
  readonly kind: "list";
  readonly countMax: number;
  readonly of: ShapeOf<T>;
}

export interface ObjectShape<T = unknown> extends Described {
  readonly kind: "object";
  readonly fields: { readonly [K in keyof T]-?: FieldOf<T, K> };
}

/** Facts whose keys are not known beforehand, scalars only. */
export interface RecordShape extends Described {
  readonly kind: "record";
}

type FieldOf<T, K extends keyof T> =
  Omit<T, K> extends T
    ? { readonly optional: true; readonly shape: ShapeOf<Exclude<T[K], undefined>> }
    : { readonly optional: false; readonly shape: ShapeOf<T[K]> };

export type ShapeOf<T> = [T] extends [string]
  ? string extends T
    ? TextShape
    : ChoiceShape<T>
  : [T] extends [number]
    ? IntegerShape | NumberShape
    : [T] extends [boolean]
      ? BooleanShape
      : [T] extends [readonly (infer U)[]]
        ? ListShape<U>
        : string extends keyof T
          ? RecordShape
          : ObjectShape<T>;

/** A shape whose value type is not known where it is used: for checks and documentation. */
export type AnyShape =
  | TextShape
  | ChoiceShape
  | IntegerShape
  | NumberShape
  | BooleanShape
  | RecordShape
  | AnyListShape
  | AnyObjectShape;

export interface AnyListShape extends Described {
  readonly kind: "list";
  readonly countMax: number;
  readonly of: AnyShape;
}

export interface AnyObjectShape extends Described {
  readonly kind: "object";
  readonly fields: Readonly<Record<string, AnyField>>;
}

export interface AnyField {
  readonly optional: boolean;
  readonly shape: AnyShape;
}

/**
 * Every reason why `value` does not have the shape; empty if it has. `at` names the place, "" at
 * the top.
 */
export function shapeProblems(shape: AnyShape, value: unknown, at: string = ""): string[] {
  switch (shape.kind) {
    case "text":
      return textProblems(shape, value, at);
    case "choice":
      return typeof value === "string" && shape.values.includes(value)
        ? []
        : [`${place(at)} must be one of ${shape.values.join(", ")}, not ${show(value)}`];
    case "integer":
      return integerProblems(shape, value, at);
    case "number":
      return typeof value === "number" && Number.isFinite(value)
        ? []
        : [`${place(at)} must be a number, not ${show(value)}`];
    case "boolean":
      return typeof value === "boolean"
        ? []
        : [`${place(at)} must be true or false, not ${show(value)}`];
    case "record":
      return isRecord(value) ? [] : [`${place(at)} must be an object, not ${show(value)}`];
    case "list":
      return listProblems(shape, value, at);
    case "object":
      return objectProblems(shape, value, at);
  }
}

/** The value as what the shape describes, or a CodedError with `code` that names every problem. */
export function checkShape<T>(
  shape: ObjectShape<T>,
  value: unknown,
  code: string,
  hint: string,
): T {
  const problems = shapeProblems(anyShape(shape), value);
  if (problems.length > 0) throw new CodedError({ code, message: problems.join("; "), hint });
  return value as T; // The shape has just proved it, and its type ties it to T.
}

/** Forgets the type of the value that the shape describes. */
export function anyShape<T>(shape: ObjectShape<T>): AnyObjectShape {
  return shape;
}

function textProblems(shape: TextShape, value: unknown, at: string): string[] {
  if (typeof value !== "string") return [`${place(at)} must be a text, not ${show(value)}`];
  if (value.length === 0) return [`${place(at)} must not be empty`];
  if (value.length > shape.lengthMax) {
    return [`${place(at)} has ${value.length} characters, the most is ${shape.lengthMax}`];
  }
  const reason = shape.invalid?.(value);
  return reason === undefined ? [] : [`${place(at)} ${reason}`];
}

function integerProblems(shape: IntegerShape, value: unknown, at: string): string[] {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    return [`${place(at)} must be a whole number, not ${show(value)}`];
  }
  if (value < shape.min) return [`${place(at)} is ${value}, the least is ${shape.min}`];
  if (value > shape.max) return [`${place(at)} is ${value}, the most is ${shape.max}`];
  const reason = shape.invalid?.(value);
  return reason === undefined ? [] : [`${place(at)} ${reason}`];
}

function listProblems(shape: AnyListShape, value: unknown, at: string): string[] {
  if (!Array.isArray(value)) return [`${place(at)} must be a list, not ${show(value)}`];
  if (value.length > shape.countMax) {
    return [`${place(at)} has ${value.length} entries, the most is ${shape.countMax}`];
  }
  return value.flatMap((item, index) => shapeProblems(shape.of, item, `${at}[${index}]`));
}

function objectProblems(shape: AnyObjectShape, value: unknown, at: string): string[] {
  if (!isRecord(value)) return [`${place(at)} must be an object, not ${show(value)}`];
  const problems: string[] = [];
  const known = Object.keys(shape.fields);
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const choices = known.length === 0 ? "nothing is expected there" : `known: ${known.join(", ")}`;
    problems.push(`${place(join(at, key.slice(0, 64)))} is not known (${choices})`);
  }
  for (const [key, field] of Object.entries(shape.fields)) {
    const item = value[key];
    if (item !== undefined) problems.push(...shapeProblems(field.shape, item, join(at, key)));
    else if (!field.optional) problems.push(`${place(join(at, key))} is missing`);
  }
  return problems;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function join(at: string, key: string): string {
  return at === "" ? key : `${at}.${key}`;
}

function place(at: string): string {
  return at === "" ? "the value" : at;
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  // Not what is in them: it may be nested deeper than whatever shows it can go.
  if (Array.isArray(value)) return "a list";
  if (isRecord(value)) return "an object";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
