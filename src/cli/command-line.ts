/**
 * From what was typed to what is meant. Knows the command tables of `host` and nothing else;
 * everything that cannot be understood is a CodedError with code `usage` and, where one is near, a
 * "did you mean".
 */
import { isAbsolute, resolve } from "node:path";
import { parseArgs } from "node:util";
import { CodedError, VOLUME_SIZE_BYTES_MAX, formatSize, parseSize } from "../base/index.ts";
import {
  nearest,
  operationNames,
  operations,
  optionUsage,
  processCommands,
  requiredOptions,
} from "../host/index.ts";
import type { Command, CommandOption, OperationName, ProcessCommandName } from "../host/index.ts";

/** Of the first host that runs, of a development cluster. */
export const API_URL_DEFAULT: string = [7400, 7401, 7402]
  .map((port) => `http://127.0.0.1:${port}`)
  .join(",");

export interface GlobalOptions {
  readonly json: boolean;
  readonly help: boolean;
  readonly yes: boolean;
  readonly api: string | undefined;
}

export type Invocation =
  | { readonly kind: "help"; readonly words: readonly string[]; readonly global: GlobalOptions }
  | { readonly kind: "version"; readonly global: GlobalOptions }
  | {
      readonly kind: "operation";
      readonly name: OperationName;
      readonly request: Readonly<Record<string, unknown>>;
      readonly global: GlobalOptions;
    }
  | {
      readonly kind: "process";
      readonly name: ProcessCommandName;
      readonly request: Readonly<Record<string, unknown>>;
      readonly global: GlobalOptions;
    };

export interface CommandEntry {
  readonly command: Command;
  readonly operation?: OperationName;
  readonly process?: ProcessCommandName;
}

const processNames = [
  ...(["dev", "dev.kill", "dev.stop", "dev.start", "dev.partition", "dev.heal"] as const),
  "init",
  "join",
  "support-bundle",
  "volume.export",
  "volume.import",
  "host.run",
] as const;

/** Every command, in the order of the tables. */
export const commandEntries: readonly CommandEntry[] = [
  ...processNames.map((name) => ({ command: processCommands[name], process: name })),
  ...operationNames.map((name) => ({ command: operations[name], operation: name })),
];

/** Options that every command takes. */
export const globalOptions: readonly CommandOption[] = [
  { name: "json", field: "json", kind: "flag", summary: "Data as JSON on stdout; errors too" },
  {
    name: "api",
    field: "api",
    kind: "text",
    argument: "URL",
    summary:
      "The host to ask, or several after commas, of which the first that runs is asked " +
      "(DRYSTONE_API; default http://127.0.0.1:7400 to 7402)",
  },
  { name: "yes", field: "yes", kind: "flag", summary: "Do not ask before dangerous things" },
  { name: "help", field: "help", kind: "flag", summary: "Help for this command" },
];

const SHORT_OPTIONS: Readonly<Record<string, string>> = { "-h": "--help", "-y": "--yes" };

/** `directory` is what relative paths count from. */
export function parseCommandLine(argv: readonly string[], directory: string): Invocation {
  const args = argv.map((arg) => SHORT_OPTIONS[arg] ?? arg);
  const words = leadingWords(args);
  const isHelpWord = words[0] === "help";
  const wanted = isHelpWord ? words.slice(1) : words;
  const global = readGlobals(args);
  if (words.length === 0 && args.includes("--version")) return { kind: "version", global };
  if (words[0] === "version" && words.length === 1) return { kind: "version", global };
  // The longest one: "dev" is a command, and "dev kill" is another.
  const entry = commandEntries
    .filter(({ command }) => startsWith(wanted, command.words))
    .toSorted((a, b) => b.command.words.length - a.command.words.length)[0];
  if (isHelpWord || global.help || words.length === 0) {
    const known = entry?.command.words ?? groupWords(wanted);
    if (wanted.length > 0 && known.length === 0) throw unknownCommand(wanted);
    if (words.length > 0 || args.length === 0 || global.help) {
      return { kind: "help", words: known, global };
    }
  }
  if (entry === undefined)
    throw wanted.length === 0 ? unknownOption(args[0]!, globalOptions, []) : unknownCommand(wanted);
  const request = parseRequest(entry.command, args, directory);
  requireOptions(entry.command, request);
  if (entry.operation !== undefined) {
    return { kind: "operation", name: entry.operation, request, global };
  }
  return { kind: "process", name: entry.process!, request, global };
}

export function usageError(message: string, hint: string): CodedError {
  return new CodedError({ code: "usage", message, hint });
}

/** The arguments before `--` that are no options and no options' values of the global kind. */
function leadingWords(args: readonly string[]): string[] {
  const words: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    if (arg === "--") break;
    if (arg === "--api") index++;
    else if (!arg.startsWith("-")) words.push(arg);
    else if (words.length > 0 && !isGlobalFlag(arg)) break; // The command's own options follow.
  }
  return words;
}

function isGlobalFlag(arg: string): boolean {
  return globalOptions.some((option) => arg === `--${option.name}`) || arg.startsWith("--api=");
}

function startsWith(words: readonly string[], prefix: readonly string[]): boolean {
  return prefix.every((word, index) => words[index] === word);
}

/** The words, if they begin a group of commands such as `volume`. */
function groupWords(words: readonly string[]): readonly string[] {
  const isGroup = commandEntries.some(
    ({ command }) => command.words.length > words.length && startsWith(command.words, words),
  );
  return isGroup ? words : [];
}

function readGlobals(args: readonly string[]): GlobalOptions {
  const before = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  const at = before.findIndex((arg) => arg === "--api" || arg.startsWith("--api="));
  const given = at < 0 ? undefined : before[at] === "--api" ? before[at + 1] : before[at]!.slice(6);
  if (at >= 0 && (given === undefined || given === "")) throw missingValue("api", "URL");
  return {
    json: before.includes("--json"),
    help: before.includes("--help"),
    yes: before.includes("--yes"),
    api: given,
  };
}

function parseRequest(
  command: Command,
  args: readonly string[],
  directory: string,
): Readonly<Record<string, unknown>> {
  const options = [...command.options, ...globalOptions];
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      options.map((option) => [
        option.name,
        { type: option.kind === "flag" ? "boolean" : "string" } as const,
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const request: Record<string, unknown> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const option = options.find(({ name }) => name === token.name);
    if (option === undefined) throw unknownOption(token.rawName, options, command.words);
    if (globalOptions.includes(option)) continue;
    const value = optionValue(option, token.value, directory);
    const earlier = request[option.field];
    // The last one counts, so that scripts may add to a line that others have begun.
    if (option.isList !== true) request[option.field] = value;
    else if (Array.isArray(earlier)) earlier.push(value);
    else request[option.field] = [value];
  }
  return { ...request, ...positionalFields(command, positionals.slice(command.words.length)) };
}

/** The host would refuse it as well, and speak of fields. */
function requireOptions(command: Command, request: Readonly<Record<string, unknown>>): void {
  const isLacking = ({ field }: CommandOption): boolean => request[field] === undefined;
  const missing = requiredOptions(command).find(isLacking);
  const hasNone = command.needsAnOption === true && command.options.every(isLacking);
  if (missing === undefined && !hasNone) return;
  const what =
    missing === undefined
      ? `one of ${command.options.map(({ name }) => `--${name}`).join(", ")}`
      : optionUsage(missing);
  throw usageError(
    `drystone ${command.words.join(" ")} needs ${what}`,
    `For example: ${command.examples[0]!.line}`,
  );
}

function positionalFields(
  command: Command,
  given: readonly string[],
): Record<string, string | readonly string[]> {
  const line = `drystone ${command.words.join(" ")}`;
  const wanted = command.positionals;
  const list = /^(.*)\.\.\.$/.exec(wanted.at(-1) ?? "")?.[1];
  if (given.length < wanted.length) {
    const missing = wanted[given.length]!.toUpperCase();
    throw usageError(`${line} needs ${missing}`, `For example: ${command.examples[0]!.line}`);
  }
  if (list !== undefined) {
    const single = wanted.slice(0, -1).map((field, index) => [field, given[index]!] as const);
    return { ...Object.fromEntries(single), [list]: given.slice(wanted.length - 1) };
  }
  if (given.length > wanted.length) {
    const extra = given[wanted.length]!;
    throw usageError(`${line} does not take "${extra}"`, `Run: ${line} --help`);
  }
  return Object.fromEntries(wanted.map((field, index) => [field, given[index]!]));
}

function optionValue(option: CommandOption, text: string | undefined, directory: string): unknown {
  if (option.kind === "flag") {
    if (text === undefined) return true;
    throw usageError(`--${option.name} takes no value`, `Give it as --${option.name}`);
  }
  if (text === undefined || text === "")
    throw missingValue(option.name, option.argument ?? "VALUE");
  switch (option.kind) {
    case "text":
      return text;
    case "path":
      return resolve(directory, text);
    case "address":
      return addressValue(text, directory);
    case "count":
      if (/^\d{1,15}$/.test(text)) return Number(text);
      throw usageError(`--${option.name} takes a whole number, not "${text}"`, "For example: 1");
    case "size":
      return sizeValue(option.name, text);
  }
}

function sizeValue(name: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined) return bytes;
  const largest = formatSize(VOLUME_SIZE_BYTES_MAX);
  throw usageError(
    `--${name} takes a size in whole bytes, at most ${largest}, not "${text}"`,
    "For example: 10G, 512M, 1.5T or 1073741824",
  );
}

/** A socket's path is the host's to open, and the host stands elsewhere: make it absolute here. */
function addressValue(text: string, directory: string): string {
  const path = text.replace(/^unix:/, "");
  const isPath = path !== text || isAbsolute(path) || !/:\d+$/.test(text);
  return isPath ? resolve(directory, path) : text;
}

function missingValue(name: string, argument: string): CodedError {
  return usageError(`--${name} needs a value`, `Give it as --${name} ${argument}`);
}

function unknownOption(
  rawName: string,
  options: readonly CommandOption[],
  words: readonly string[],
): CodedError {
  const name = rawName.replace(/^-+/, "").replace(/=.*$/, "");
  const suggestion = nearest(
    name,
    options.map((option) => option.name),
  );
  const line = ["drystone", ...words].join(" ");
  return usageError(
    `${line} has no option ${rawName}`,
    suggestion === undefined ? `Run: ${line} --help` : `Did you mean --${suggestion}?`,
  );
}

function unknownCommand(words: readonly string[]): CodedError {
  const known = commandEntries.map(({ command }) => command.words);
  const depth = words.findIndex(
    (_, at) => !known.some((one) => startsWith(one, words.slice(0, at + 1))),
  );
  if (depth === 0) return unknownFirst(words, known);
  const group = words.slice(0, depth < 0 ? words.length : depth);
  const line = ["drystone", ...group].join(" ");
  const behind = known.filter((one) => startsWith(one, group)).map((one) => one[group.length]!);
  const choices = [...new Set(behind)].join(", ");
  const wrong = words[group.length];
  if (wrong === undefined) return usageError(`${line} needs one more word`, `One of: ${choices}`);
  const suggestion = nearest(wrong, behind);
  return usageError(
    `there is no command "${[...group, wrong].join(" ")}"`,
    suggestion === undefined ? `${line} has: ${choices}` : `Did you mean: ${line} ${suggestion}`,
  );
}

function unknownFirst(words: readonly string[], known: readonly (readonly string[])[]): CodedError {
  const typed = words.slice(0, 2).join(" ");
  const lines = known.map((candidate) => candidate.join(" "));
  const firsts = [...new Set(known.map((candidate) => candidate[0]!))];
  const suggestion = nearest(typed, lines) ?? nearest(words[0]!, firsts);
  return usageError(
    `there is no command "${words[0]!}"`,
    suggestion === undefined ? "Run: drystone --help" : `Did you mean: drystone ${suggestion}`,
  );
}
