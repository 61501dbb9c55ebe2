/**
 * Debian packages: the commands they provide are looked up in the path; only what is missing is
 * installed, as root or with a sudo that asks for no password. Otherwise the exact command is
 * printed and the job goes on: tests that need a missing command skip themselves and say so.
 */
import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { isAbsolute, join } from "node:path";
import { cachePath, REPOSITORY, runLogged, say, showTail } from "./steps.mjs";

const APT_LISTS = "/var/lib/apt/lists";
const LOCK_WAIT_MS = 5_000;
const LOCK_WAIT_MS_MAX = 10 * 60_000;
/**
 * After a failed installation, how long the next runs leave it alone: no network stays no network.
 */
const RETRY_AFTER_MS = 30 * 60_000;

export function readPackageList() {
  return JSON.parse(readFileSync(join(REPOSITORY, "scripts/setup/debian-packages.json"), "utf8"));
}

/** Looks where root looks, for users whose path lacks the folders of system commands. */
function isPresent(command) {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin", "/usr/local/sbin"];
  const candidates = isAbsolute(command)
    ? [command]
    : folders.map((folder) => join(folder, command));
  return candidates.some((path) => {
    try {
      accessSync(path, isAbsolute(command) ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * The rows that a job wants and that lack something. `check` is a developer's run: it needs none.
 */
export function missingPackages(list, job, present = isPresent) {
  return list.filter((row) => row.for.includes(job) && !row.provides.every(present));
}

/**
 * The words before a command that make it run as root; undefined if there is no way without a
 * password.
 */
function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  if (!isPresent("sudo")) return undefined;
  return spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0
    ? ["sudo", "-n"]
    : undefined;
}

function printByHand(missing, why) {
  say(`${why}. These commands are missing:`);
  for (const row of missing) say(`  ${row.package.padEnd(16)} ${row.why}`);
  say("Tests and examples that need them are skipped. To install them, run as root:");
  say(`  apt-get update && apt-get install -y --no-install-recommends ${names(missing).join(" ")}`);
}

function names(rows) {
  return rows.map((row) => row.package);
}

function failedRecently(stamp, wanted) {
  if (!existsSync(stamp)) return false;
  const { at, packages } = JSON.parse(readFileSync(stamp, "utf8"));
  return Date.now() - at < RETRY_AFTER_MS && wanted.every((name) => packages.includes(name));
}

/** Turns apt's output into "3 of 120 packages: libfoo". */
function aptProgress() {
  let total = 0;
  let done = 0;
  return (line) => {
    const count = /(\d+) newly installed/.exec(line);
    if (count !== null) total = Number(count[1]);
    if (line.startsWith("Waiting for cache lock")) return "waiting for another package manager";
    const unit = /^Setting up (\S+)/.exec(line);
    if (unit === null) return line.startsWith("Get:") ? "downloading" : undefined;
    done++;
    return `${done} of ${total} packages: ${unit[1]}`;
  };
}

async function apt(prefix, action, ...rest) {
  const options = ["DPkg::Lock::Timeout=60", "Acquire::Retries=2", "Acquire::http::Timeout=20"];
  const [command, ...words] = [
    ...prefix,
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "apt-get",
    ...options.flatMap((option) => ["-o", option]),
    action,
    ...rest,
  ];
  const started = performance.now();
  for (;;) {
    const result = await runLogged(`apt-${action}`, command, words, { progress: aptProgress() });
    const isLocked =
      result.code !== 0 && /Could not get lock|Unable to acquire/.test(result.tail.join("\n"));
    if (!isLocked || performance.now() - started > LOCK_WAIT_MS_MAX) return result;
    say("  another package manager is at work; waiting for it");
    await new Promise((resolve) => setTimeout(resolve, LOCK_WAIT_MS));
  }
}

const aptInstall = (prefix, rows) =>
  apt(prefix, "install", "-y", "--no-install-recommends", ...names(rows));

function haveLists() {
  return existsSync(APT_LISTS) && readdirSync(APT_LISTS).some((name) => name.includes("_Packages"));
}

function systemctl(prefix, ...words) {
  const [command, ...rest] = [...prefix, "systemctl", ...words];
  spawnSync(command, rest, { stdio: "ignore" });
}

/**
 * Packages that bring a service must not start it here: tests start their own, on their own ports.
 */
async function withServicesHeldBack(prefix, rows, work) {
  const services = rows.flatMap((row) => row.service ?? []);
  if (services.length === 0 || !existsSync("/run/systemd/system")) return work();
  systemctl(prefix, "mask", "--runtime", ...services);
  try {
    return await work();
  } finally {
    systemctl(prefix, "unmask", "--runtime", ...services);
    systemctl(prefix, "disable", ...services);
  }
}

async function install(prefix, rows) {
  if (haveLists()) {
    const result = await aptInstall(prefix, rows);
    if (result.code === 0) return result;
    say("Debian packages: the package lists may be old");
  }
  say("Debian packages: fetching the package lists (apt-get update)");
  const update = await apt(prefix, "update");
  return update.code === 0 ? aptInstall(prefix, rows) : update;
}

function failureReason(tail) {
  const text = tail.join("\n");
  if (
    /Could not resolve|Temporary failure resolving|Could not connect|timed out|Unable to connect/.test(
      text,
    )
  ) {
    return "apt-get cannot reach the package servers: check the network or the mirror in /etc/apt/sources.list";
  }
  if (/No space left|enough free space/.test(text))
    return "the disk is full: apt-get could not install";
  if (/dpkg was interrupted/.test(text))
    return "dpkg was interrupted: run `dpkg --configure -a` as root";
  return "apt-get could not install the packages";
}

export async function ensureDebianPackages(job) {
  const missing = missingPackages(readPackageList(), job);
  if (missing.length === 0) return;
  if (!isPresent("apt-get")) return printByHand(missing, "This is not a Debian system");
  const prefix = rootPrefix();
  if (prefix === undefined) {
    return printByHand(missing, "Debian packages need root or a sudo that asks for no password");
  }
  const stamp = cachePath("apt-failed.json");
  if (failedRecently(stamp, names(missing))) {
    return printByHand(
      missing,
      "Debian packages could not be installed a short while ago, not trying again yet",
    );
  }
  say(`Debian packages: installing ${names(missing).join(" ")} (once, a minute or two)`);
  const { code, tail, log } = await withServicesHeldBack(prefix, missing, () =>
    install(prefix, missing),
  );
  const still = code === 0 ? missingPackages(missing, job) : missing;
  if (still.length === 0) return rmSync(stamp, { force: true });
  showTail(tail);
  writeFileSync(stamp, JSON.stringify({ at: Date.now(), packages: names(still) }));
  printByHand(still, `${failureReason(tail)} (whole output: ${log})`);
}
