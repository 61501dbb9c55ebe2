/**
 * What other hosts answer is checked before it is used: a host that has gone mad costs its part of
 * the picture only. Looser than for requests, as hosts of other versions answer, too: what they
 * tell besides is passed on, and numbers that they do not know may be missing.
 */
import { bugStack, CodedError, errorText } from "../../base/index.ts";
import type { Clock, Log } from "../../ports/index.ts";
import { SeldomTold } from "../api/seldom-told.ts";
import { anyShape, isRecord } from "../api/shape.ts";
import type { AnyShape, ObjectShape } from "../api/shape.ts";

const TOLD_EVERY_MS = 10 * 60_000;

/** The answer as what the shape describes. Fails with `code` if it cannot be that. */
export function readAnswer<T>(
  shape: ObjectShape<T>,
  said: unknown,
  code: "message-invalid" | "host-unreachable" = "message-invalid",
): T {
  if (isLike(anyShape(shape), said)) return said as T; // As far as others rely on it.
  throw new CodedError({ code, message: "the host answers with what cannot be read" });
}

export function readAnswers<T>(shape: ObjectShape<T>, said: unknown): readonly T[] {
  if (Array.isArray(said)) return said.map((one) => readAnswer(shape, one));
  throw new CodedError({ code: "message-invalid", message: "the host answers with no list" });
}

function isLike(shape: AnyShape, value: unknown): boolean {
  switch (shape.kind) {
    case "text":
    case "choice":
      return typeof value === "string";
    case "integer":
    case "number":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    case "record":
      return isRecord(value) && Object.values(value).every(isScalar);
    case "list":
      return Array.isArray(value) && value.every((one) => isLike(shape.of, one));
    case "object":
      return (
        isRecord(value) &&
        Object.entries(shape.fields).every(([name, field]) => {
          const found = value[name];
          if (found !== undefined && found !== null) return isLike(field.shape, found);
          return field.optional || isNumber(field.shape);
        })
      );
  }
}

/** A number that is none comes as null. */
function isScalar(value: unknown): boolean {
  return value === null || typeof value !== "object";
}

function isNumber({ kind }: AnyShape): boolean {
  return kind === "integer" || kind === "number" || kind === "boolean";
}

/** Asks others, and tells now and then of those whose answers cannot be read. */
export class PeerAnswers {
  readonly #log: Log;
  readonly #told: SeldomTold;

  constructor({ log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#log = log;
    this.#told = new SeldomTold(clock, TOLD_EVERY_MS);
  }

  /** Undefined if the host does not answer, or with what `ask` cannot deal with. */
  async of<T>(host: string, what: string, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      const isSilent = error instanceof CodedError && error.code !== "message-invalid";
      const untoldCount = isSilent ? undefined : this.#told.due(`${host} ${what}`);
      if (untoldCount !== undefined) {
        const message = `the answer of a host to ${what} is left out: ${errorText(error)}`;
        this.#log.write("warning", message, { host, untoldCount, stack: bugStack(error) });
      }
      return undefined;
    }
  }
}
