/** Help texts, made from the command tables: examples first. */
import { optionUsage, requiredOptions } from "../host/index.ts";
import type { Command, CommandOption } from "../host/index.ts";
import { commandEntries, globalOptions } from "./command-line.ts";

const INTRODUCTION =
  "drystone: one store for virtual-machine disks, from the disks of ordinary hosts";

/** No words: the overview; one word of a group: that group; otherwise one command. */
export function helpText(words: readonly string[]): string {
  const exact = commandEntries.find(({ command }) => command.words.join(" ") === words.join(" "));
  if (exact !== undefined) return commandHelp(exact.command);
  const commands = commandEntries
    .map(({ command }) => command)
    .filter((command) => words.every((word, index) => command.words[index] === word));
  return words.length === 0 ? overview(commands) : groupHelp(words.join(" "), commands);
}

function overview(commands: readonly Command[]): string {
  const examples = [
    { line: "drystone dev", why: "three hosts on this machine, with a volume to try" },
    { line: "drystone volume create web1 --size 10G", why: "a volume" },
    { line: "drystone volume attach web1 --nbd /run/web1.sock", why: "use it" },
    { line: "drystone status", why: "is everything all right?" },
  ];
  return lines([
    INTRODUCTION,
    "",
    "Examples",
    ...pairs(examples.map(({ line, why }) => [line, why])),
    "",
    "Commands",
    ...pairs(commands.map((command) => [usageWords(command), command.summary])),
    "",
    "Options of every command",
    ...pairs(globalOptions.map(optionPair)),
    "",
    "More about a command: drystone COMMAND --help",
  ]);
}

function groupHelp(group: string, commands: readonly Command[]): string {
  return lines([
    "Examples",
    ...pairs(commands.map(({ examples }) => [examples[0]!.line, examples[0]!.why])),
    "",
    `Commands of drystone ${group}`,
    ...pairs(commands.map((command) => [usageWords(command), command.summary])),
  ]);
}

function commandHelp(command: Command): string {
  const required = requiredOptions(command);
  const isMore = command.options.length > required.length;
  const usage = [
    ...["drystone", usageWords(command)],
    ...required.map(optionUsage),
    ...(isMore ? ["[OPTIONS]"] : []),
  ];
  const options =
    command.options.length === 0 ? [] : ["", "Options", ...pairs(command.options.map(optionPair))];
  return lines([
    command.summary,
    "",
    "Examples",
    ...pairs(command.examples.map(({ line, why }) => [line, why])),
    "",
    `Usage: ${usage.join(" ")}`,
    ...options,
    "",
    "Options of every command",
    ...pairs(globalOptions.map(optionPair)),
  ]);
}

function usageWords(command: Command): string {
  return [...command.words, ...command.positionals.map((field) => field.toUpperCase())].join(" ");
}

function optionPair(option: CommandOption): readonly [string, string] {
  return [optionUsage(option), option.summary];
}

function pairs(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

function lines(parts: readonly string[]): string {
  return `${parts.join("\n")}\n`;
}
