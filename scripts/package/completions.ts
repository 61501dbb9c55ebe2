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
};

/** First words, the words behind each, and the options of each command. */
interface Tree {
  readonly firsts: readonly string[];
  readonly seconds: ReadonlyMap<string, readonly string[]>;
  readonly options: ReadonlyMap<string, readonly string[]>;
  /** Commands that take the name of something that exists, by the group of their object. */
  readonly named: ReadonlyMap<string, string>;
}

function tree(): Tree {
  const commands = commandEntries.map(({ command }) => command);
  const firsts = [...new Set(commands.map(({ words }) => words[0]!)), "help", "version"];
  const seconds = new Map<string, string[]>();
  const options = new Map<string, string[]>();
  const named = new Map<string, string>();
  const everywhere = globalOptions.map(({ name }) => `--${name}`);
  for (const { words, options: own, positionals } of commands) {
    const line = words.join(" ");
    const [first, second] = words;
    if (second !== undefined) seconds.set(first!, [...(seconds.get(first!) ?? []), second]);
    options.set(line, [...own.map(({ name }) => `--${name}`), ...everywhere]);
    if (positionals.length > 0 && second !== "create" && first! in OBJECTS) named.set(line, first!);
  }
  return { firsts, seconds, options, named };
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
  const { firsts, seconds, options, named } = tree();
  const secondCases = [...seconds].map(
    ([first, words]) => `      ${first}) words="${words.join(" ")}" ;;`,
  );
  const optionCases = [...options].map(
    ([line, names]) => `    "${line}") words="${names.join(" ")}" ;;`,
  );
  const namedCases = [...named].map(
    ([line, group]) => `    "${line}") words="$(_drystone_names ${group})" ;;`,
  );
  return `# bash completion for drystone, generated from its commands
${namesFunction("_drystone_names")}

_drystone() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words="" line=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="${firsts.join(" ")}"
  elif [ "$COMP_CWORD" -eq 2 ] && [[ "$current" != -* ]]; then
    case "\${COMP_WORDS[1]}" in
${secondCases.join("\n")}
    esac
  fi
  line="\${COMP_WORDS[1]}"
  [ -n "\${COMP_WORDS[2]}" ] && [ "$COMP_CWORD" -gt 2 ] && [[ "\${COMP_WORDS[2]}" != -* ]] &&
    line="$line \${COMP_WORDS[2]}"
  if [[ "$current" == -* ]]; then
    case "$line" in
${optionCases.join("\n")}
    esac
  elif [ "$COMP_CWORD" -eq 3 ]; then
    case "$line" in
${namedCases.join("\n")}
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
  const { firsts, seconds, options, named } = tree();
  const first = `complete -c drystone -n __fish_use_subcommand -f -a "${firsts.join(" ")}"`;
  const isAt = (words: string): string => {
    const parts = words.split(" ");
    const same = parts.map((word, index) => `test "$words[${index + 2}]" = ${word}`);
    return `'set -l words (commandline -opc); ${same.join("; and ")}; and test (count $words) -eq ${parts.length + 1}'`;
  };
  const secondLines = [...seconds].map(
    ([word, next]) => `complete -c drystone -n ${isAt(word)} -f -a "${next.join(" ")}"`,
  );
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
    ...secondLines,
    ...optionLines,
    ...namedLines,
    "",
  ].join("\n");
}
