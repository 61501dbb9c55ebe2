/**
 * Reading records that other hosts, other versions or an operator's editor may have written: every
 * field is checked before it is used, and a record that is not understood is refused with its key.
 */
import { CodedError, errorText } from "../base/index.ts";

/** One JSON object with typed access. Every complaint names the record and the field. */
export class RecordFields {
  readonly what: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(what: string, value: unknown) {
    this.what = what;
    if (!isRecord(value)) throw invalid(what, "it is not an object");
    this.#fields = value;
  }

  /** Parses a directory value. `formats` are the only versions that this program understands. */
  static parse(what: string, text: string, ...formats: readonly number[]): RecordFields {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw invalid(what, `it is not JSON (${errorText(error)})`);
    }
    const fields = new RecordFields(what, value);
    const found = fields.integer("format", 1, Number.MAX_SAFE_INTEGER);
    if (formats.includes(found)) return fields;
    const understood = Math.max(...formats);
    throw new CodedError({
      code: "record-format-unknown",
      message: `${what} has format ${found}, this program understands format ${formats.join(" and ")}`,
      hint:
        found > understood ? "run a newer version of Drystone" : "update the cluster step by step",
      details: { found, understood },
    });
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined && this.#fields[name] !== null;
  }

  text(name: string, lengthMax = 4096): string {
    const value = this.#fields[name];
    if (typeof value !== "string" || value.length === 0 || value.length > lengthMax)
      throw this.invalid(name, `must be a text of 1 to ${lengthMax} characters`);
    return value;
  }

  anyText(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== "string") throw this.invalid(name, "must be a text");
    return value;
  }

  number(name: string): number {
    const value = this.#fields[name];
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0)
      throw this.invalid(name, "must be a positive number");
    return value;
  }

  /** A number of 0 or more. */
  amount(name: string): number {
    const value = this.#fields[name];
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
      throw this.invalid(name, "must be a number of 0 or more");
    return value;
  }

  boolean(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== "boolean") throw this.invalid(name, "must be true or false");
    return value;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.#fields[name];
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) throw this.invalid(name, `must be one of ${allowed.join(", ")}`);
    return found;
  }

  integer(name: string, min: number, max: number): number {
    const value = this.#fields[name];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max)
      throw this.invalid(name, `must be an integer from ${min} to ${max}`);
    return value;
  }

  texts(name: string, countMax: number): string[] {
    const list = this.#list(name, countMax);
    if (!list.every((item) => typeof item === "string"))
      throw this.invalid(name, "must be a list of texts");
    return list;
  }

  child(name: string): RecordFields {
    return new RecordFields(`${this.what}.${name}`, this.#fields[name]);
  }

  children(name: string, countMax: number): RecordFields[] {
    return this.#list(name, countMax).map(
      (item, i) => new RecordFields(`${this.what}.${name}[${i}]`, item),
    );
  }

  #list(name: string, countMax: number): unknown[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length > countMax)
      throw this.invalid(name, `must be a list of at most ${countMax}`);
    return value;
  }

  invalid(name: string, why: string): CodedError {
    return invalid(this.what, `"${name}" ${why}`);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(what: string, why: string): CodedError {
  return new CodedError({
    code: "record-invalid",
    message: `${what} in the directory is invalid: ${why}`,
    hint: "restore the directory from a backup, or report this as a bug",
    details: { why },
  });
}
