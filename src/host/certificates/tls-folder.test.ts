import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { makeAuthority } from "../../platform/index.ts";
import { StateDir } from "../state-dir.ts";
import { readAuthorities, readTlsFolder, tlsPaths, writeAuthority } from "./tls-folder.ts";
import { writeTlsFolder } from "./tls-folder.ts";

const CLUSTER = "c".repeat(32);
const OTHER = "d".repeat(32);
const HOST = "a".repeat(32);
const NOW_MS = Date.UTC(2026, 10, 26);
const YEAR_MS = 365 * 24 * 3600 * 1000;

function folderOf(context: TestContext, hostId = HOST): string {
  const folder = mkdtempSync("/var/tmp/drystone-tls-");
  context.after(() => rmSync(folder, { recursive: true }));
  const authority = makeAuthority(CLUSTER, NOW_MS);
  writeAuthority(folder, authority);
  writeTlsFolder(folder, authority, { clusterId: CLUSTER, hostId, addresses: [] }, NOW_MS);
  return folder;
}

const refusal = (message: RegExp): { code: string; message: RegExp } => ({
  code: "certificate-invalid",
  message,
});

test("what was written is read, and only its owner may read the keys", (context) => {
  const folder = folderOf(context);
  const { hostId, clusterId } = readTlsFolder(folder, CLUSTER, NOW_MS);
  assert.deepEqual({ hostId, clusterId }, { hostId: HOST, clusterId: CLUSTER });
  assert.equal(readAuthorities(folder).length, 1);
  const { keyPath, authorityKeyPath } = tlsPaths(folder);
  for (const path of [keyPath, authorityKeyPath]) assert.equal(statSync(path).mode & 0o777, 0o600);
  rmSync(authorityKeyPath);
  assert.deepEqual(readAuthorities(folder), []);
});

test("what cannot be used is refused with the file and the reason", (context) => {
  const folder = folderOf(context);
  const { caPath, certificatePath, keyPath } = tlsPaths(folder);
  const readIt = (clusterId = CLUSTER, nowMs = NOW_MS) => readTlsFolder(folder, clusterId, nowMs);
  assert.throws(() => readIt(OTHER), refusal(/host.crt .* of cluster c+, not of d+/));
  assert.throws(() => readIt(CLUSTER, NOW_MS + 11 * YEAR_MS), refusal(/expired/));
  assert.throws(() => readIt(CLUSTER, NOW_MS - YEAR_MS), refusal(/not valid yet/));
  chmodSync(keyPath, 0o644);
  assert.throws(() => readIt(), refusal(/host.key .* everybody may read it/));
  chmodSync(keyPath, 0o600);
  copyFileSync(tlsPaths(folderOf(context)).caPath, caPath);
  assert.throws(() => readIt(), refusal(/has not signed it/));
  writeFileSync(certificatePath, "nonsense");
  assert.throws(() => readIt(), refusal(/not a certificate/));
  rmSync(certificatePath);
  assert.throws(() => readIt(), refusal(/is missing/));
});

test("a host starts with its own certificate only", async (context) => {
  const path = join(folderOf(context), "state");
  const state = StateDir.open(path, CLUSTER, HOST);
  assert.equal(state.identity.hostId, HOST);
  await state.close();
  assert.throws(() => StateDir.open(path, CLUSTER, "b".repeat(32)), refusal(/of host b+/));
});
