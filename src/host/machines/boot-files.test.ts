import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { BootFiles } from "./boot-files.ts";
import { parseHostConfig } from "../host-config.ts";

/** A host's folder with its state, its keys and a folder to boot from. */
function hostFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "drystone-boot-"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const name of ["boot", "state", "tls", "device", "other"]) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "file"), "what is in it");
  }
  writeFileSync(join(folder, "cluster.key"), "a secret");
  return folder;
}

function bootFiles(folder: string, bootFolders?: readonly string[]): BootFiles {
  const tls = { id: "0".repeat(32), directory: "own:127.0.0.1:1", storageAddress: "127.0.0.1:2" };
  const config = {
    stateDir: "state",
    devices: [{ path: "device" }],
    keyFile: "cluster.key",
    cluster: { ...tls, tls: "tls" },
    apiPlain: true,
    ...(bootFolders === undefined ? {} : { bootFolders }),
  };
  return BootFiles.of(parseHostConfig(JSON.stringify(config), join(folder, "host.json")));
}

function refused(files: BootFiles, path: string): void {
  for (const use of [() => files.check(path), () => files.open(path)])
    assert.throws(use, { code: "boot-file-refused" }, path);
}

test("machines boot from files below the folders that the configuration names", (t) => {
  const folder = hostFolder(t);
  const files = bootFiles(folder, ["boot"]);
  const kernel = join(folder, "boot", "file");
  files.check(kernel);
  assert.equal(files.open(kernel), kernel);
  symlinkSync("file", join(folder, "boot", "vmlinuz"));
  assert.equal(files.open(join(folder, "boot", "vmlinuz")), kernel);
  for (const other of ["other/file", "other/absent", "boot/../other/file", "boot"])
    refused(files, `${folder}/${other}`);
  refused(files, "/etc/shadow");
  refused(files, "boot/file");
});

test("a link does not lead out of the folders, and a comma to no second file", (t) => {
  const folder = hostFolder(t);
  const files = bootFiles(folder, ["boot"]);
  symlinkSync(join(folder, "other", "file"), join(folder, "boot", "out"));
  symlinkSync(join(folder, "other"), join(folder, "boot", "folder"));
  refused(files, join(folder, "boot", "out"));
  refused(files, join(folder, "boot", "folder", "file"));
  refused(files, join(folder, "boot", `file,${folder}/other/file`));
});

test("what is the host's own is never booted from, whatever the folders are", (t) => {
  const folder = hostFolder(t);
  const files = bootFiles(folder, ["/"]);
  files.check(join(folder, "other", "file"));
  for (const own of ["state/file", "tls/file", "device/file", "cluster.key"])
    refused(files, join(folder, own));
  symlinkSync(join(folder, "cluster.key"), join(folder, "boot", "key"));
  refused(files, join(folder, "boot", "key"));
});

test("a file that is not here may be on another host, and is needed where the machine starts", (t) => {
  const folder = hostFolder(t);
  const files = bootFiles(folder, ["boot"]);
  files.check(join(folder, "boot", "absent"));
  assert.throws(() => files.open(join(folder, "boot", "absent")), { code: "vm-not-started" });
});

test("without a setting machines boot from where kernels and firmware usually are", (t) => {
  const files = bootFiles(hostFolder(t));
  for (const file of ["/boot/absent", "/usr/share/absent", "/var/lib/drystone/boot/absent"])
    files.check(file);
  refused(files, "/etc/passwd");
  refused(bootFiles(hostFolder(t), []), "/boot/absent");
});
