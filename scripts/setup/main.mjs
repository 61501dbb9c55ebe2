/**
 * Set-up in order, then the job, in this very process: signals and the exit code need no
 * forwarding.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureBuilt } from "./build.mjs";
import { ensureDebianPackages } from "./debian-packages.mjs";
import { ensureNpmPackages } from "./npm-packages.mjs";
import { REPOSITORY, say, SetupError } from "./steps.mjs";

/** What each name runs once the machine is ready. */
const JOBS = {
  start: { entry: "dist/run/main.js", arguments: ["dev"], defaults: [["--hosts", "3"]] },
  test: { entry: "dist/scripts/test.js", arguments: [], defaults: [] },
  check: { entry: "dist/scripts/check.js", arguments: [], defaults: [] },
  bench: { entry: "dist/bench/main.js", arguments: [], defaults: [] },
  package: { entry: "dist/scripts/package.js", arguments: [], defaults: [] },
  trial: { entry: "dist/scripts/trial.js", arguments: [], defaults: [] },
  fuzz: { entry: "dist/test/fuzz.js", arguments: [], defaults: [] },
  soak: { entry: "dist/test/soak.js", arguments: [], defaults: [] },
};

function jobArguments(job, given) {
  const defaults = job.defaults.filter(
    ([option]) => !given.some((text) => text === option || text.startsWith(`${option}=`)),
  );
  return [...job.arguments, ...defaults.flat(), ...given];
}

/** Runs `work`; a failure of the set-up becomes one line and exit code 1, and the answer false. */
async function guarded(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`drystone: ${error.message}. Next step: ${error.nextStep}`);
    process.exitCode = 1;
    return false;
  }
}

/** For `bin/drystone` in a checkout that was never built. True if it is built now. */
export function prepareBuild() {
  return guarded(async () => {
    await ensureNpmPackages();
    await ensureBuilt();
  });
}

/** Which packages: peers to compare with are big, and installed only for who asks. */
function packagesFor(name, given) {
  if (name !== "bench" || !["peers", "rebuild-peers"].includes(given[0])) return name;
  return given.includes("--install") ? "peers" : undefined;
}

async function prepare(name, given) {
  const started = performance.now();
  await ensureNpmPackages();
  const packages = packagesFor(name, given);
  if (packages !== undefined) await ensureDebianPackages(packages);
  await ensureBuilt();
  say(`ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

function jobNamed(name) {
  const job = JOBS[name];
  if (job !== undefined) return job;
  throw new SetupError(
    name === undefined ? "no job was named" : `there is no job "${name}"`,
    `node scripts/bootstrap.mjs ${Object.keys(JOBS).join("|")} [ARGUMENTS]`,
  );
}

/**
 * A machine for three hosts or more to carry. Where it cannot be made everything else still works.
 */
async function guestArguments(given) {
  const hosts = /--hosts[ =](\d+)/.exec(given.join(" "))?.[1] ?? "3";
  if (Number(hosts) < 3 || given.some((text) => text.startsWith("--guest"))) return [];
  try {
    const { guestImage } = await import("../../dist/scripts/guest.js");
    return ["--guest", dirname(guestImage().kernel)];
  } catch (error) {
    if (given.includes("--tour")) {
      throw new SetupError(
        `the guest cannot be made: ${error.message}`,
        "run `apt-get update` as root, or give --guest FOLDER with a kernel and an initramfs",
      );
    }
    say(`no virtual machine will run: ${error.message}`);
    return [];
  }
}

export async function main([name, ...given]) {
  const entry = join(REPOSITORY, JOBS[name]?.entry ?? "");
  const ready = await guarded(async () => {
    const job = jobNamed(name);
    await prepare(name, given);
    if (!existsSync(entry)) {
      throw new SetupError(
        `"${name}" is not part of this version: ${job.entry} does not exist`,
        "see the table in README.md of what works today",
      );
    }
    const guest = name === "start" ? await guestArguments(given) : [];
    process.argv = [process.argv[0], entry, ...jobArguments(job, given), ...guest];
  });
  if (ready) await import(pathToFileURL(entry).href);
}
