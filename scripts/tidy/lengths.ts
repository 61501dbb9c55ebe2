/** Lines no longer than a reader's window. Functions and files are counted by the linter. */
import type { Problem, SourceFile } from "./source-file.ts";

export const LINE_COLUMNS_MAX = 100;

/** What has no place to break: one literal, a long address, a test's name, a table in a comment. */
const UNBREAKABLE: readonly RegExp[] = [
  /^\s*(?:return |\w+: )?(["'`/])[^\n]*\1[gimsuy]*(?:[,;)]|\.test\()*$/,
  /https?:\/\/\S{40}/,
  /^\s*test\(["'`]/,
  /^\s*\* \|/,
];

export function lineLengths(file: SourceFile): Problem[] {
  const problems: Problem[] = [];
  for (const [index, line] of file.text.split("\n").entries()) {
    if (line.length <= LINE_COLUMNS_MAX || UNBREAKABLE.some((one) => one.test(line))) continue;
    const message = `${line.length} columns, at most ${LINE_COLUMNS_MAX}`;
    problems.push({ path: file.path, line: index + 1, message });
  }
  return problems;
}
