/**
 * A file as the rules of `tidy` see it: rules are pure functions over texts, so they have tests of
 * their own.
 */
export interface SourceFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Problem {
  readonly path: string;
  /** From 1; 0 if it concerns the file as a whole. */
  readonly line: number;
  readonly message: string;
}

export const isTest = (path: string): boolean =>
  path.startsWith("test/") || /\.(?:test|fuzz)\.ts$/.test(path);

/** The text with comments blanked out, line for line. Good enough for bans; not a parser. */
export function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "))
    .replace(/(^|[^:"'`])\/\/.*$/gm, "$1");
}
