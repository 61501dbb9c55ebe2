/** The text of a source file with over-long comment paragraphs re-flowed. */
import { LINE_COLUMNS_MAX } from "./lengths.ts";

/** A line that is nothing but comment: its indent and marker, and its text. */
const COMMENT_LINE = /^(\s*(?:\/\/|\*)) (\S.*)$/;
const ONE_LINE_BLOCK = /^(\s*)\/\*\*? (\S.*?) \*\/$/;
/** List items, tables, tags and code are laid out by hand. */
const LAID_OUT = /^(?:[-*|@>`#]|\d+[.)] )/;

function fill(words: readonly string[], prefix: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && prefix.length + 1 + longer.length > LINE_COLUMNS_MAX) {
      lines.push(`${prefix} ${line}`);
      line = word;
    } else line = longer;
  }
  return [...lines, `${prefix} ${line}`];
}

/** The prefix and text of a line of running text, or undefined. */
function runningText(line: string): { readonly prefix: string; readonly text: string } | undefined {
  const [, prefix, text] = COMMENT_LINE.exec(line) ?? [];
  if (prefix === undefined || text === undefined) return undefined;
  if (LAID_OUT.test(text) || text.endsWith("*/")) return undefined;
  return { prefix, text };
}

/** The end (exclusive) of the paragraph that starts at `start`, all with the same prefix. */
function paragraphEnd(lines: readonly string[], start: number, prefix: string): number {
  let end = start;
  while (end < lines.length && runningText(lines[end] ?? "")?.prefix === prefix) end++;
  return end;
}

function openedBlock(line: string): string[] {
  const [, indent, text] = ONE_LINE_BLOCK.exec(line) ?? [];
  if (line.length <= LINE_COLUMNS_MAX || indent === undefined || text === undefined) return [line];
  return [`${indent}/**`, `${indent} * ${text}`, `${indent} */`];
}

export function wrapComments(source: string): string {
  const lines = source.split("\n").flatMap(openedBlock);
  const wrapped: string[] = [];
  for (let at = 0; at < lines.length;) {
    const first = runningText(lines[at] ?? "");
    const end = first === undefined ? at + 1 : paragraphEnd(lines, at, first.prefix);
    const paragraph = lines.slice(at, end);
    const isTooLong = paragraph.some((line) => line.length > LINE_COLUMNS_MAX);
    if (first === undefined || !isTooLong) wrapped.push(...paragraph);
    else {
      const words = paragraph.flatMap((line) => (runningText(line)?.text ?? "").split(/\s+/));
      wrapped.push(...fill(words, first.prefix));
    }
    at = end;
  }
  return wrapped.join("\n");
}
