/** Where output goes and how it may look: colour on terminals only, and never with NO_COLOR. */
import { escapeControls } from "../base/index.ts";
import type { Fault } from "../base/index.ts";

export interface Output {
  /** Data, on stdout. */
  data(text: string): void;
  /** Messages, on stderr. */
  message(text: string): void;
  readonly style: Style;
  /** Columns of the terminal; Infinity if stdout is none. */
  readonly widthMax: number;
  readonly isJson: boolean;
}

export type Colour = "red" | "green" | "yellow" | "bold";
export type Style = (colour: Colour, text: string) => string;

const CODES: Readonly<Record<Colour, string>> = {
  red: "\u001b[31m",
  green: "\u001b[32m",
  yellow: "\u001b[33m",
  bold: "\u001b[1m",
};

/** Nobody types its name otherwise. */
const PROGRAM = "drystone ";

export const plain: Style = (_colour, text) => text;
export const coloured: Style = (colour, text) => `${CODES[colour]}${text}\u001b[0m`;

export interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export function mayColour(terminal: Terminal, environment: NodeJS.ProcessEnv): boolean {
  if (terminal.isTTY !== true) return false;
  return (environment["NO_COLOR"] ?? "") === "" && environment["TERM"] !== "dumb";
}

export function processOutput(isJson: boolean): Output {
  const { stdout, stderr } = process;
  return {
    data: (text) => void stdout.write(text),
    message: (text) => void stderr.write(printableLines(text)),
    style: mayColour(stdout, process.env) ? coloured : plain,
    widthMax: stdout.isTTY ? Math.max(40, stdout.columns) : Infinity,
    isJson,
  };
}

/** Nothing that a terminal obeys but the ends of lines: a file's name or an error may hold it. */
function printableLines(text: string): string {
  return text
    .split("\r\n")
    .map((part) => escapeControls(part, "\n\t"))
    .join("\r\n");
}

/** One line with the cause and the next step; with `--json` an object on stdout for machines. */
export function reportFault(output: Output, fault: Fault): void {
  if (output.isJson) {
    const { code, message, hint, details } = fault;
    output.data(`${JSON.stringify({ error: { code, message, hint, details } })}\n`);
    return;
  }
  const hint = fault.hint === undefined ? "" : `. ${sentence(fault.hint)}`;
  output.message(`drystone: ${escapeControls(oneLine(`${fault.message}${hint}`))}\n`);
}

function sentence(text: string): string {
  if (text.startsWith(PROGRAM)) return text;
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ");
}
