/**
 * npm dependencies: installed when what npm recorded in node_modules differs from
 * package-lock.json. That record is written last, so an interrupted installation counts as none.
 */
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY, runLogged, say, SetupError, showTail } from "./steps.mjs";

const INSTALL_ARGUMENTS = [
  // Not `npm ci`: it refuses lock files made where the packages of other platforms cannot be had.
  "install",
  // Takes the versions of the lock file and leaves that file alone.
  "--no-save",
  // All native parts come prebuilt; nothing needs a compiler.
  "--ignore-scripts",
  "--no-audit",
  "--no-fund",
  "--include=dev",
  "--prefer-offline",
  "--loglevel=http",
  // By default npm tries for minutes before it admits that there is no network.
  "--fetch-retries=1",
  "--fetch-retry-mintimeout=2000",
  "--fetch-retry-maxtimeout=5000",
];

/** Turns npm's log into "40 packages looked up" or what keeps the network from answering. */
function fetchProgress() {
  let fetched = 0;
  return (line) => {
    const failed = /attempt \d+ failed with (\S+)/.exec(line);
    if (failed !== null) return `the registry does not answer (${failed[1]}), trying again`;
    if (!/^npm http (?:fetch|cache)/.test(line)) return undefined;
    fetched++;
    return `${fetched} packages looked up`;
  };
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(join(REPOSITORY, path), "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw new SetupError(`${path} cannot be read: ${error.message}`, `mend or restore ${path}`);
  }
}

/**
 * Why the installed packages are not those of the lock file, or undefined. Optional ones may be
 * absent.
 */
export function npmPackagesOutdated(lock, installed) {
  if (installed === undefined) return "not installed yet";
  for (const [path, wanted] of Object.entries(lock.packages)) {
    if (path === "" || wanted.link === true) continue;
    const version = installed.packages[path]?.version;
    if (version === wanted.version) continue;
    if (version === undefined && wanted.optional === true) continue;
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    return `${name} is ${version ?? "missing"}, wanted ${wanted.version}`;
  }
  return undefined;
}

/** Why package.json and its lock file do not belong together, or undefined. */
export function lockOutdated(manifest, lock) {
  for (const group of ["dependencies", "devDependencies"]) {
    const wanted = manifest[group] ?? {};
    const locked = lock.packages[""]?.[group] ?? {};
    for (const name of new Set([...Object.keys(wanted), ...Object.keys(locked)])) {
      if (wanted[name] !== locked[name]) {
        const [here, there] = [wanted[name] ?? "absent", locked[name] ?? "absent"];
        return `${name} is ${here} in package.json, ${there} in the lock file`;
      }
    }
  }
  return undefined;
}

function isLink(path) {
  return lstatSync(join(REPOSITORY, path), { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

function failure(code, tail) {
  const text = tail.join("\n");
  if (code === 127) {
    return new SetupError("npm was not found", "apt-get install npm, or install Node with its npm");
  }
  if (/ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH/.test(text)) {
    return new SetupError(
      "npm cannot reach its registry",
      "check the network (npm ping), set https_proxy or `npm config set registry URL` if you use a mirror, then run this again",
    );
  }
  if (/ENOSPC/.test(text))
    return new SetupError("the disk is full", "free some space, run this again");
  if (/EACCES|EPERM/.test(text)) {
    return new SetupError(
      "npm may not write here",
      `give ${REPOSITORY}node_modules to the user who runs this (chown -R), then run this again`,
    );
  }
  return new SetupError(
    "npm could not install the dependencies",
    "run `npm install --no-save` by hand and read its output",
  );
}

export async function ensureNpmPackages() {
  // A linked node_modules (several work trees that share one) is looked after where it lives.
  if (isLink("node_modules")) return;
  const lock = readJson("package-lock.json");
  if (lock === undefined) {
    throw new SetupError("package-lock.json is missing", "git checkout package-lock.json");
  }
  const reason = npmPackagesOutdated(lock, readJson("node_modules/.package-lock.json"));
  if (reason === undefined) return;
  const mismatch = lockOutdated(readJson("package.json"), lock);
  if (mismatch !== undefined) {
    throw new SetupError(
      `package-lock.json is behind package.json: ${mismatch}`,
      "npm install, then commit package-lock.json",
    );
  }
  say(`npm packages: ${reason}; running npm install (about 30 s)`);
  const { code, tail, log } = await runLogged("npm-install", "npm", INSTALL_ARGUMENTS, {
    progress: fetchProgress(),
  });
  if (code === 0) {
    const still = npmPackagesOutdated(lock, readJson("node_modules/.package-lock.json"));
    if (still === undefined) return;
    throw new SetupError(
      `npm did not install what package-lock.json asks for: ${still}`,
      "rm -rf node_modules, then run this again",
    );
  }
  showTail(tail);
  say(`the whole output is in ${log}`);
  throw failure(code, tail);
}
