import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { parseHostConfig } from "./host-config.ts";

const parse = (value: unknown): ReturnType<typeof parseHostConfig> =>
  parseHostConfig(JSON.stringify(value), "/etc/drystone/host.json");

function refusal(text: string): string {
  try {
    parseHostConfig(text, "/etc/drystone/host.json");
  } catch (error) {
    assert.ok(error instanceof CodedError && error.code === "config-invalid");
    return error.message;
  }
  throw new Error("was not refused");
}

test("a configuration is read, with defaults, and relative paths count from the file", () => {
  const config = parse({
    name: "h1",
    stateDir: "state",
    devices: [{ path: "/dev/sdb" }, { path: "d2", size: "10G" }],
  });
  assert.deepEqual(config, {
    name: "h1",
    stateDir: "/etc/drystone/state",
    apiAddress: { host: "127.0.0.1", port: 7400 },
    isApiPlain: true,
    devices: [{ path: "/dev/sdb" }, { path: "/etc/drystone/d2", sizeBytes: 10 * 2 ** 30 }],
    keyFile: "/etc/drystone/state/cluster.key",
    bootFolders: ["/boot", "/usr/share", "/var/lib/drystone/boot"],
    memoryBytes: 192 * 2 ** 20,
    cluster: undefined,
  });
});

test("every problem of a configuration is named at once", () => {
  const message = refusal(
    JSON.stringify({
      name: "a b",
      statedir: "x",
      apiAddress: "/a.sock",
      devices: [{ path: "d", size: "1K" }],
      memory: "lots",
    }),
  );
  for (const part of [
    /statedir is not known/,
    /stateDir is missing/,
    /name is "a b"/,
    /apiAddress must be ADDRESS:PORT/,
  ]) {
    assert.match(message, part);
  }
  assert.match(message, /devices\[0\]\.size is 1K, the least is 256M/);
  assert.match(message, /memory is "lots", which is not a size/);
});

test("what is not JSON is refused with the reason", () => {
  assert.match(refusal("{"), /host\.json is not JSON/);
  assert.match(refusal("[]"), /must be an object/);
});

test("the same device twice is refused, however it is written", () => {
  assert.match(
    refusal(
      JSON.stringify({ stateDir: "s", devices: [{ path: "d" }, { path: "/etc/drystone/x/../d" }] }),
    ),
    /lists \/etc\/drystone\/d twice/,
  );
});

test("what other machines can reach is under TLS, or refused", () => {
  const withCluster = (cluster: Readonly<Record<string, string>>): string =>
    JSON.stringify({
      stateDir: "s",
      devices: [{ path: "d" }],
      cluster: {
        id: "c".repeat(32),
        directory: "served:127.0.0.1:7440",
        storageAddress: "127.0.0.1:7420",
        ...cluster,
      },
    });
  const plain = parseHostConfig(withCluster({}), "/etc/drystone/host.json");
  assert.equal(plain.cluster?.tls, undefined);
  const secure = withCluster({ tls: "tls", storageAddress: "10.1.0.1:7401" });
  assert.equal(
    parseHostConfig(secure, "/etc/drystone/host.json").cluster?.tls,
    "/etc/drystone/tls",
  );
  assert.match(
    refusal(withCluster({ storageAddress: "10.1.0.1:7401" })),
    /tls is missing.*storage/,
  );
  assert.match(refusal(withCluster({ storageAddress: "0.0.0.0:7401" })), /tls is missing/);
  assert.match(refusal(withCluster({ directory: "served:10.0.0.1:7440" })), /tls is missing/);
  assert.match(refusal(withCluster({ directory: "own:10.0.0.1:7402" })), /tls is missing/);
  const open = { stateDir: "s", devices: [{ path: "d" }], apiAddress: "0.0.0.0:7400" };
  assert.match(refusal(JSON.stringify(open)), /API without TLS stays on 127.0.0.1/);
  const directory = "http://10.0.0.1:2379";
  assert.match(refusal(withCluster({ directory, tls: "tls" })), /etcd .* without TLS/);
});
