/**
 * A failure of the world, as a value: a stable kebab-case code that callers and `--json` readers
 * may branch on, one sentence with the cause, and the next step an operator can take. A new code
 * exists only if somebody can react to it.
 */
export interface Fault {
  readonly code: string;
  /** What happened and why, one sentence, no trailing full stop. */
  readonly message: string;
  /** What the reader can do about it, one sentence, when there is something. */
  readonly hint?: string;
  /** Facts for machines: names, sizes, limits. Never secrets. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

export class CodedError extends Error {
  override readonly name: string = "CodedError";
  readonly fault: Fault;

  constructor(fault: Fault, options?: { cause?: unknown }) {
    super(fault.message, options);
    this.fault = fault;
  }

  get code(): string {
    return this.fault.code;
  }
}

/** The text of whatever was thrown, for messages that carry a cause. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Where a bug was thrown, for the log; undefined for failures of the outside world. */
export function bugStack(error: unknown): string | undefined {
  return error instanceof CodedError || !(error instanceof Error) ? undefined : error.stack;
}
