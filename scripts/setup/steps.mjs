/**
 * What the steps of the set-up share: messages, running commands with visible progress, and their
 * log.
 */
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));

const CACHE = join(REPOSITORY, ".cache");
const TAIL_LINES = 15;
const TICK_MS = 5_000;

/** One clear line with the cause, and what to do about it. */
export class SetupError extends Error {
  constructor(message, nextStep) {
    super(message);
    this.nextStep = nextStep;
  }
}

/** Progress goes to stderr: stdout belongs to the job, which may print JSON. */
export function say(text) {
  process.stderr.write(`drystone: ${text}\n`);
}

export function cachePath(name) {
  mkdirSync(CACHE, { recursive: true });
  return join(CACHE, name);
}

/**
 * Runs a command with its output in .cache/NAME.log; now and then shows the newest line that
 * `progress` makes of the output, so that a slow network does not look like a hang. Returns `{
 * code, tail, log }`; code 127 if the command does not exist.
 */
export function runLogged(name, command, commandArguments, { progress, env } = {}) {
  const log = cachePath(`${name}.log`);
  const file = createWriteStream(log);
  const tail = [];
  const started = performance.now();
  let newest = "";
  const ticker = setInterval(() => {
    const seconds = Math.round((performance.now() - started) / 1000);
    say(`  ${name}: ${seconds} s${newest === "" ? "" : `, ${newest}`}`);
  }, TICK_MS);
  const take = (chunk) => {
    file.write(chunk);
    for (const line of chunk.toString().split(/[\r\n]+/)) {
      if (line.trim() === "") continue;
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      newest = progress?.(line) ?? newest;
    }
  };
  return new Promise((resolve) => {
    const finish = (code) => {
      clearInterval(ticker);
      file.end(() => resolve({ code, tail, log }));
    };
    const child = spawn(command, commandArguments, {
      cwd: REPOSITORY,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", (error) => {
      tail.push(error.message);
      finish(127);
    });
    child.on("close", (code) => finish(code ?? 1));
  });
}

export function showTail(tail) {
  for (const line of tail) process.stderr.write(`  | ${line}\n`);
}
