/**
 * What the command line needs to know of a command, whether a running host answers it or it starts
 * one.
 */
export interface Command {
  /** What is typed after `drystone`. */
  readonly words: readonly string[];
  readonly summary: string;
  readonly examples: readonly Example[];
  /**
   * Fields of the request that are given without a name, in order. All are required. The last one
   * may end in "..." and is then a list of one or more.
   */
  readonly positionals: readonly string[];
  readonly options: readonly CommandOption[];
  /** It changes what its options name, and is refused without any. */
  readonly needsAnOption?: boolean;
}

export interface Example {
  readonly line: string;
  readonly why: string;
}

export interface CommandOption {
  /** Without the dashes. */
  readonly name: string;
  /** The field of the request that it fills. */
  readonly field: string;
  /**
   * "size" is read as 10G, "address" and "path" are made absolute where they are relative paths.
   */
  readonly kind: "flag" | "text" | "count" | "size" | "address" | "path";
  /** What stands for its value in help; flags have none. */
  readonly argument?: string;
  readonly summary: string;
  /** May be given more than once; the field is then a list. */
  readonly isList?: boolean;
  /** Of a process; what an operation needs its request's shape says. */
  readonly isRequired?: boolean;
}
