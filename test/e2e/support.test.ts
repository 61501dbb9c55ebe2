/** What operators are given: health with its history, rules and dashboards that fit, the bundle. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import type { HealthListView, HealthShowView } from "../../src/host/index.ts";
import { startHost } from "./harness.ts";

const MONITORING = fileURLToPath(new URL("../../../packages/monitoring/", import.meta.url));

async function textAt(url: string): Promise<string> {
  const response = await fetch(url);
  assert.equal(response.status, 200, url);
  return await response.text();
}

test("health has a history, and every metric that rules and panels ask for exists", async (t) => {
  const host = await startHost(t, "1G");
  await host.volume("web1", 64 << 20);
  await host.cli(["volume", "detach", "web1"]);
  await host.cli(["volume", "attach", "web1", "--read-only"]);
  const { health, checks } = await host.cli<HealthListView>(["health", "list"]);
  assert.equal(health, "healthy");
  assert.ok(checks.length >= 30, `${checks.length} checks`);
  for (;;) {
    const { check, history } = await host.cli<HealthShowView>([
      ...["health", "show", "read-only-attachment"],
    ]);
    assert.equal(check.findings[0]?.subject, "web1");
    if (history.length > 0) {
      assert.equal(history[0]?.change, "raised");
      break;
    }
  }
  assert.equal(await textAt(`${host.api}/readyz`), "ok\n");

  const metrics = await textAt(`${host.api}/metrics`);
  const known = new Set([...metrics.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]));
  const files = ["drystone-alerts.yml", "drystone-grafana.json"];
  const asked = files.flatMap((file) => [
    ...fs.readFileSync(path.join(MONITORING, file), "utf8").matchAll(/drystone_[a-z_]+/g),
  ]);
  for (const [name] of asked) {
    const family = name.replace(/_(?:bucket|count|sum)$/, "");
    // Hosts that are alone have no networks to be reached on.
    if (family === "drystone_host_up") continue;
    assert.ok(known.has(family), `${name} is no metric`);
  }
  assert.ok(asked.length > 30, "the files were read");
});

test("a support bundle holds what is needed and no secret", async (t) => {
  const host = await startHost(t, "1G");
  const file = path.join(host.folder, "bundle.json.gz");
  await host.cli(["support-bundle", "--output", file]);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  const text = gunzipSync(fs.readFileSync(file)).toString();
  const bundle = JSON.parse(text) as Readonly<Record<string, unknown>>;
  for (const name of ["status", "health", "networks", "volumes", "events", "metrics", "machine"]) {
    assert.ok(name in bundle, `${name} is missing`);
  }
  assert.match(text, /demo/);
  assert.doesNotMatch(text, /PRIVATE KEY/);
  await assert.rejects(host.cli(["support-bundle", "--output", file]), /file-unwritable/);
});
