/**
 * Everything a developer runs before handing in a change, in the order in which failures are
 * cheapest to mend. The first failing step stops the run and shows its output.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { cleanDist } from "./clean-dist.ts";
import { REPOSITORY } from "./repository.ts";

interface Step {
  readonly name: string;
  /** A script of ours or a tool's program, and its arguments. */
  readonly program: string;
  readonly arguments: readonly string[];
  readonly onFailure: string;
  /** Last lines of the output that are worth showing even when all is well. */
  readonly summaryLines: number;
}

const tool = (path: string): string => join(REPOSITORY, "node_modules", path);
const script = (name: string): string => join(REPOSITORY, "dist/scripts", name);

const steps: readonly Step[] = [
  {
    name: "build",
    program: tool("typescript/bin/tsc"),
    arguments: ["-b"],
    onFailure: "mend the types",
    summaryLines: 0,
  },
  {
    name: "format",
    program: tool("oxfmt/bin/oxfmt"),
    arguments: ["--check", "."],
    onFailure: "npm run format",
    summaryLines: 0,
  },
  {
    name: "lint",
    program: tool("oxlint/bin/oxlint"),
    arguments: [],
    onFailure: "mend the lines above; `npx oxlint --fix` mends some",
    summaryLines: 0,
  },
  {
    name: "tidy",
    program: script("tidy.js"),
    arguments: [],
    onFailure: "mend the lines above; `npm run format` wraps comments",
    summaryLines: 2,
  },
  {
    name: "docs tables",
    program: script("docs-tables.js"),
    arguments: ["--check"],
    onFailure: "npm run format",
    summaryLines: 0,
  },
  {
    name: "knip",
    program: tool("knip/bin/knip.js"),
    arguments: ["--no-progress"],
    onFailure: "remove what is not used, or use it",
    summaryLines: 0,
  },
  {
    name: "unit tests",
    program: script("test.js"),
    arguments: ["--unit"],
    onFailure: "npm test -- PART-OF-PATH runs single files",
    summaryLines: 8,
  },
];

function run(step: Step): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [step.program, ...step.arguments], {
      cwd: REPOSITORY,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const take = (chunk: Buffer): void => void (output += chunk.toString());
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

async function runStep(step: Step): Promise<boolean> {
  const started = performance.now();
  const { code, output } = await run(step);
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  const lines = output.trimEnd().split("\n");
  if (code !== 0) {
    console.log(`${seconds} s  ${step.name}  FAILED\n`);
    console.log(output.trimEnd());
    console.log(`\n${step.name} failed. Next step: ${step.onFailure}`);
    return false;
  }
  console.log(`${seconds} s  ${step.name}`);
  const summary = step.summaryLines === 0 ? [] : lines.slice(-step.summaryLines);
  for (const line of summary) console.log(`         ${line}`);
  return true;
}

async function main(): Promise<void> {
  const started = performance.now();
  for (const path of cleanDist(REPOSITORY)) console.log(`removed ${path}: its source is gone`);
  for (const step of steps) {
    if (await runStep(step)) continue;
    process.exitCode = 1;
    return;
  }
  console.log(`all well after ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

await main();
