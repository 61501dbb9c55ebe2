/** What the tables of error codes are made of. */
export interface ErrorCode {
  /** The HTTP status that it travels under. */
  readonly status: number;
  readonly meaning: string;
  readonly action: string;
}

export function row(status: number, meaning: string, action: string): ErrorCode {
  return { status, meaning, action };
}
