/** How many assertions the floors that keep data safe make per function. A report, not a gate. */
import { isTest, withoutComments, type SourceFile } from "./source-file.ts";

export const ASSERTING_FLOORS = ["base", "format", "cluster", "store", "object"] as const;

/** Declarations with a body, methods, and arrow functions with a block: as a reader would count. */
const FUNCTION =
  /\bfunction\b[^;]*?\{|=>\s*\{|^\s+(?:(?:static|async|override|get|set)\s+)*#?\w+\([^;{}]*\)(?::[^;={}]+)?\s*\{$/gm;
const CONTROL = /^\s+(?:if|for|while|switch|catch)\s*\(/;
const ASSERTION = /\b(?:assert|assertDefined|unreachable)\(/g;

export interface AssertionCount {
  readonly floor: string;
  readonly functions: number;
  readonly assertions: number;
}

export function countAssertions(floor: string, files: readonly SourceFile[]): AssertionCount {
  let functions = 0;
  let assertions = 0;
  for (const file of files) {
    if (!file.path.startsWith(`src/${floor}/`) || isTest(file.path)) continue;
    const code = withoutComments(file.text);
    functions += [...code.matchAll(FUNCTION)].filter((match) => !CONTROL.test(match[0])).length;
    assertions += [...code.matchAll(ASSERTION)].length;
  }
  return { floor, functions, assertions };
}
