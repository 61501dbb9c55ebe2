/** What a program of this repository was called with. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { ParseArgsConfig } from "node:util";

const HELP = ["--help", "-h"];
const WRONG_USE = 2;

/**
 * As `parseArgs` of Node, for `npm run NAME`, whose file is at `url`. `--help` prints the comment
 * at the head of that, which is its manual, and ends the program; words that mean nothing to it end
 * it with exit code 2.
 */
export function programOptions<const T extends ParseArgsConfig>(
  name: string,
  url: string,
  config: T,
): ReturnType<typeof parseArgs<T>> {
  if ((config.args ?? process.argv.slice(2)).some((word) => HELP.includes(word))) {
    console.log(manualIn(readFileSync(fileURLToPath(url), "utf8")));
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const [problem] = error.message.split(". ");
    console.error(`${name}: ${problem}. Next step: npm run ${name} -- --help`);
    process.exit(WRONG_USE);
  }
}

/** The first comment of a file as plain lines. */
export function manualIn(source: string): string {
  const comment = /\/\*\*\n([^]*?)\n \*\//.exec(source)?.[1] ?? "";
  return comment.replaceAll(/^ \* ?/gm, "");
}
