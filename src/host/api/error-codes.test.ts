import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "../../../test/support/test.ts";
import { errorCodes } from "./error-codes.ts";

const SOURCES = fileURLToPath(new URL("../../../../src", import.meta.url));

/** Codes that never leave the process: bugs, values of other tables. */
const INTERNAL: ReadonlySet<string> = new Set([
  "almost-full",
  "attach-failed",
  "repair-blocked",
  "volume-held",
  "closed",
  "cluster-exists",
  "component-exists",
  "component-missing",
  "damaged-blocks",
  "device-hung",
  "directory-closed",
  "directory-failed",
  "directory-value-too-long",
  "descriptors-invalid",
  "event-invalid",
  "export-unknown",
  "fingerprint-collision",
  "host-down",
  "host-without-lease",
  "internal",
  "lease-ended",
  "lease-full",
  "lease-ttl-invalid",
  "link-refused",
  "message-invalid",
  "memory-exhausted",
  "memory-not-mappable",
  "method-unknown",
  "connection-broken",
  "copies-differ",
  "not-stale",
  "policy-change-moved",
  "stream-invalid",
  "unreachable",
  "vhost-violation",
  "volume-degraded",
  "shrink-unsupported",
]);

/** The simulator and the cache are told of bugs only. */
function thrownCodes(): Map<string, string> {
  const codes = new Map<string, string>();
  for (const entry of readdirSync(SOURCES, { recursive: true, encoding: "utf8" })) {
    if (!entry.endsWith(".ts") || entry.endsWith(".test.ts") || /^(sim|trial|cache)\//.test(entry))
      continue;
    const text = readFileSync(join(SOURCES, entry), "utf8");
    for (const match of text.matchAll(/\bcode: "([a-z-]+)"/g)) codes.set(match[1]!, entry);
  }
  return codes;
}

test("every code that a user may meet is explained", () => {
  for (const [code, file] of thrownCodes()) {
    assert.ok(code in errorCodes || INTERNAL.has(code), `${file}: ${code}`);
  }
});

test("every explanation has a status, a meaning and a next step", () => {
  for (const [code, { status, meaning, action }] of Object.entries(errorCodes)) {
    assert.match(code, /^[a-z]+(-[a-z]+)*$/);
    assert.ok(status >= 400 && status < 600, code);
    assert.ok(meaning.length > 10 && action.length > 5, code);
  }
});
