/** Completions for shells, made from the command tables; names of objects are asked of a host. */
import { commandEntries, globalOptions } from "../../src/cli/index.ts";

/** What a positional names, and how it is listed. */
const OBJECTS: Readonly<Record<string, { readonly list: string; readonly field: string }>> = {
  volume: { list: "volume list", field: "name" },
  vm: { list: "vm list", field: "name" },
  host: { list: "host list", field: "name" },
  device: { list: "device list", field: "deviceId" },
  health: { list: "health list", field: "id" },
  access: { list: "access list", field: "id" },
  snapshot: { list: "snapshot list", field: "name" },
  client: { list: "client list", field: "name" },
  "key-domain": { list: "key-domain list", field: "name" },
};
/** Groups whose commands name what another group lists. */
const LISTED_AS: Readonly<Record<string, string>> = { whatif: "host", why: "vm", dev: "none" };
/** Last words of commands that name what is not there yet. */
const MAKERS: ReadonlySet<string> = new Set(["create", "import", "add"]);

interface Tree {
  /** What may follow the words that begin a command; "" is where the line begins. */
  readonly next: ReadonlyMap<string, readonly string[]>;
  /** The options of each command. */
  readonly options: ReadonlyMap<string, readonly string[]>;
  /** Commands that take the name of something that exists, by the group of their object. */
  readonly named: ReadonlyMap<string, string>;
}

function tree(): Tree {
  const next = new Map<string, string[]>([["", ["help", "version"]]]);
  const options = new Map<string, string[]>();
  const named = new Map<string, string>();
  const everywhere = globalOptions.map(({ name }) => `--${name}`);
  for (const { command } of commandEntries) {
    const { words, options: own, positionals } = command;
    const line = words.join(" ");
    for (const [depth, word] of words.entries()) {
      const before = words.slice(0, depth).join(" ");
      next.set(before, [...new Set([...(next.get(before) ?? []), word])]);
    }
    options.set(line, [...own.map(({ name }) => `--${name}`), ...everywhere]);
    const group = LISTED_AS[words[0]!] ?? words[0]!;
    if (positionals.length > 0 && !MAKERS.has(words.at(-1)!) && group in OBJECTS)
      named.set(line, group);
  }
  return { next, options, named };
}

/** A shell function that prints the names of a group's objects, one on a line. */
function namesFunction(name: string): string {
  const cases = Object.entries(OBJECTS).map(
    ([group, { list, field }]) =>
      `    ${group}) timeout 2 drystone ${list} --json 2>/dev/null | grep -o '"${field}":"[^"]*"' | cut -d'"' -f4 | sort -u ;;`,
  );
  return [`${name}() {`, '  case "$1" in', ...cases, "  esac", "}"].join("\n");
}

export function bashCompletion(): string {
  const { next, options, named } = tree();
  const cases = (entries: readonly (readonly [string, string])[]): string =>
    entries.map(([line, words]) => `      "${line}") words="${words}" ;;`).join("\n");
  const following = [
    ...[...next].map(([line, words]) => [line, words.join(" ")] as const),
    ...[...named].map(([line, group]) => [line, `$(_drystone_names ${group})`] as const),
  ];
  const commands = [...options.keys()].map((line) => `"${line}"`).join("|");
  const optionsOf = [...options].map(([line, names]) => [line, names.join(" ")] as const);
  return `# bash completion for drystone, generated from its commands
${namesFunction("_drystone_names")}

_drystone() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words="" line="" command="" word at
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    word="\${COMP_WORDS[at]}"
    case "$word" in
      --api) at=$((at + 1)) ;;
      --json|--yes) ;;
      *) line="\${line:+$line }$word" ;;
    esac
    case "$line" in
      ${commands}) command="$line" ;;
    esac
  done
  if [[ "$current" == -* ]]; then
    case "$command" in
${cases(optionsOf)}
    esac
  else
    case "$line" in
${cases(following)}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _drystone drystone
`;
}

export function zshCompletion(): string {
  return `#compdef drystone
# zsh completion for drystone: by way of the one for bash
autoload -U +X bashcompinit && bashcompinit
source /usr/share/bash-completion/completions/drystone
`;
}

export function fishCompletion(): string {
  const { next, options, named } = tree();
  const firsts = next.get("") ?? [];
  const first = `complete -c drystone -n __fish_use_subcommand -f -a "${firsts.join(" ")}"`;
  const isAt = (words: string): string => {
    const parts = words.split(" ");
    const same = parts.map((word, index) => `test "$words[${index + 2}]" = ${word}`);
    return `'set -l words (commandline -opc); ${same.join("; and ")}; and test (count $words) -eq ${parts.length + 1}'`;
  };
  const nextLines = [...next]
    .filter(([line]) => line !== "")
    .map(([line, words]) => `complete -c drystone -n ${isAt(line)} -f -a "${words.join(" ")}"`);
  const optionLines = [...options].flatMap(([line, names]) => {
    const parts = line.split(" ").map((word) => `__fish_seen_subcommand_from ${word}`);
    return names.map(
      (name) => `complete -c drystone -n '${parts.join("; and ")}' -l ${name.slice(2)}`,
    );
  });
  const namedLines = [...named].map(
    ([line, group]) => `complete -c drystone -n ${isAt(line)} -f -a "(__drystone_names ${group})"`,
  );
  const names = Object.entries(OBJECTS).map(
    ([group, { list, field }]) =>
      `    case ${group}\n      timeout 2 drystone ${list} --json 2>/dev/null | string match -rga '"${field}":"([^"]*)"' | sort -u`,
  );
  return [
    "# fish completion for drystone, generated from its commands",
    "function __drystone_names",
    "  switch $argv[1]",
    ...names,
    "  end",
    "end",
    first,
    ...nextLines,
    ...optionLines,
    ...namedLines,
    "",
  ].join("\n");
}
