import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "../../test/support/test.ts";
import { REPOSITORY } from "../repository.ts";

interface Lock {
  readonly packages: Readonly<Record<string, LockEntry>>;
}

interface LockEntry {
  readonly version?: string;
  readonly optional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
}

interface NpmPackages {
  npmPackagesOutdated(lock: Lock, installed: Lock | undefined): string | undefined;
  lockOutdated(manifest: object, lock: Lock): string | undefined;
}

interface PackageRow {
  readonly package: string;
  readonly provides: readonly string[];
  readonly for: readonly string[];
}

interface DebianPackages {
  readPackageList(): readonly PackageRow[];
  missingPackages(
    list: readonly PackageRow[],
    job: string,
    present: (command: string) => boolean,
  ): readonly PackageRow[];
}

/** The set-up is plain JavaScript and not compiled: it is loaded from the source folder. */
function load(name: string): Promise<unknown> {
  return import(pathToFileURL(join(REPOSITORY, "scripts/setup", name)).href);
}

const npm = (await load("npm-packages.mjs")) as NpmPackages;
const debian = (await load("debian-packages.mjs")) as DebianPackages;

const readJson = (path: string): unknown =>
  JSON.parse(readFileSync(join(REPOSITORY, path), "utf8"));

const lock: Lock = {
  packages: {
    "": { dependencies: { a: "1.0.0" } },
    "node_modules/a": { version: "1.0.0" },
    "node_modules/a/node_modules/b": { version: "2.0.0" },
    "node_modules/for-another-machine": { version: "3.0.0", optional: true },
  },
};

const installedWith = (changes: Record<string, LockEntry>): Lock => ({
  packages: {
    "node_modules/a": { version: "1.0.0" },
    "node_modules/a/node_modules/b": { version: "2.0.0" },
    ...changes,
  },
});

test("installed npm packages are up to date when npm's record has the versions of the lock file", () => {
  assert.equal(npm.npmPackagesOutdated(lock, installedWith({})), undefined);
});

test("a missing record, a missing package and another version each ask for an installation", () => {
  assert.match(npm.npmPackagesOutdated(lock, undefined) ?? "", /not installed/);
  assert.match(npm.npmPackagesOutdated(lock, { packages: {} }) ?? "", /a is missing/);
  const older = installedWith({ "node_modules/a/node_modules/b": { version: "1.9.0" } });
  assert.match(npm.npmPackagesOutdated(lock, older) ?? "", /b is 1\.9\.0, wanted 2\.0\.0/);
  const foreign = installedWith({ "node_modules/for-another-machine": { version: "2.0.0" } });
  assert.match(npm.npmPackagesOutdated(lock, foreign) ?? "", /another-machine/);
});

test("a lock file that lacks or keeps a dependency is out of date", () => {
  assert.equal(npm.lockOutdated({ dependencies: { a: "1.0.0" } }, lock), undefined);
  assert.match(npm.lockOutdated({}, lock) ?? "", /a is absent/);
  const added = { dependencies: { a: "1.0.0" }, devDependencies: { c: "1.0.0" } };
  assert.match(npm.lockOutdated(added, lock) ?? "", /c is 1\.0\.0/);
});

test("this repository's package.json and package-lock.json belong together", () => {
  const manifest = readJson("package.json") as object;
  assert.equal(npm.lockOutdated(manifest, readJson("package-lock.json") as Lock), undefined);
});

test("a Debian package is missing if any of its commands is, and only for jobs that want it", () => {
  const list: readonly PackageRow[] = [
    { package: "p", provides: ["p1", "p2"], for: ["test"] },
    { package: "q", provides: ["q"], for: ["start", "test"] },
  ];
  const names = (job: string, present: readonly string[]): string[] =>
    debian.missingPackages(list, job, (name) => present.includes(name)).map((row) => row.package);
  assert.deepEqual(names("test", ["p1"]), ["p", "q"]);
  assert.deepEqual(names("start", ["p1"]), ["q"]);
  assert.deepEqual(names("check", []), []);
  assert.deepEqual(names("test", ["p1", "p2", "q"]), []);
});

test("every row of the package list names what it provides and a job that exists", () => {
  const list = debian.readPackageList();
  assert.ok(list.length > 0);
  for (const row of list) {
    assert.match(row.package, /^[a-z0-9][a-z0-9+.-]+$/);
    assert.ok(row.provides.length > 0, row.package);
    for (const job of row.for)
      assert.ok(["start", "test", "bench", "peers"].includes(job), row.package);
  }
});
