/** Calls and words that have no place in the code, each with what to use instead. */
import { isTest, withoutComments, type Problem, type SourceFile } from "./source-file.ts";

interface Ban {
  readonly pattern: RegExp;
  readonly what: string;
  readonly instead: string;
  /** Folders (or files) where it is allowed. */
  readonly except: readonly string[];
  readonly allowedInTests: boolean;
  /** Comments count too. */
  readonly inComments: boolean;
}

const OUTER_FLOORS = [
  "src/platform/",
  "src/client/",
  "src/host/",
  "src/cli/",
  "scripts/",
  "bench/",
  "web/",
] as const;
const THIS_FILE = "scripts/tidy/";

const bans: readonly Ban[] = [
  {
    pattern: /\bDate\.now\(/,
    what: "Date.now()",
    instead: "the clock port: time belongs to the platform and the simulator",
    except: ["src/platform/", "scripts/", "bench/", "web/"],
    allowedInTests: true,
    inComments: false,
  },
  {
    pattern: /\bMath\.random\b/,
    what: "Math.random",
    instead: "a Prng from src/base: a run must be replayable from its seed",
    except: [THIS_FILE],
    allowedInTests: false,
    inComments: false,
  },
  {
    pattern: /\b(?:setTimeout|setInterval|setImmediate)\(/,
    what: "a timer",
    instead: "the clock port",
    except: OUTER_FLOORS,
    allowedInTests: true,
    inComments: false,
  },
  {
    pattern: /\bconsole\./,
    what: "console",
    instead: "the log port",
    except: ["src/host/", "src/cli/", "scripts/", "bench/"],
    allowedInTests: true,
    inComments: false,
  },
  {
    pattern: /\b(?:FIXME|TODO|XXX)\b/,
    what: "a note to finish later",
    instead: "finish it, or refuse the case with a clear message",
    except: [THIS_FILE],
    allowedInTests: false,
    inComments: true,
  },
  {
    pattern: /\b(?:test|it|describe)\.only\(|\bonly: true\b/,
    what: "a test that silences the others",
    instead: "npm test -- PART-OF-PATH",
    except: [THIS_FILE],
    allowedInTests: false,
    inComments: false,
  },
  {
    pattern: /(?:oxlint|eslint)-disable(?!.*--\s*\S)/,
    what: "a silenced lint rule without a reason",
    instead: "`oxlint-disable-next-line RULE -- reason`",
    except: [THIS_FILE],
    allowedInTests: false,
    inComments: true,
  },
  {
    pattern: /@ts-(?:ignore|nocheck)\b/,
    what: "a silenced compiler",
    instead: "types that say what is meant",
    except: [THIS_FILE],
    allowedInTests: false,
    inComments: true,
  },
];

const FILE_NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.(?:test|fuzz|bench|conformance))?\.(?:tsx?|mjs)$/;
const VAGUE_NAME = /^(?:utils?|helpers?|misc|common|manager)\b/;

function applies(ban: Ban, path: string): boolean {
  if (ban.allowedInTests && isTest(path)) return false;
  return !ban.except.some((prefix) => path.startsWith(prefix));
}

export function bannedText(file: SourceFile): Problem[] {
  const problems: Problem[] = [];
  const lines = file.text.split("\n");
  const codeLines = withoutComments(file.text).split("\n");
  for (const ban of bans) {
    if (!applies(ban, file.path)) continue;
    for (const [index, line] of (ban.inComments ? lines : codeLines).entries()) {
      if (!ban.pattern.test(line)) continue;
      const message = `${ban.what} is not for this place; use ${ban.instead}`;
      problems.push({ path: file.path, line: index + 1, message });
    }
  }
  return problems;
}

export function fileName(file: SourceFile): Problem[] {
  const name = file.path.slice(file.path.lastIndexOf("/") + 1);
  if (!FILE_NAME.test(name)) {
    return [{ path: file.path, line: 0, message: "file names are kebab-case nouns" }];
  }
  if (VAGUE_NAME.test(name)) {
    return [{ path: file.path, line: 0, message: "name the file after the one thing it holds" }];
  }
  return [];
}
