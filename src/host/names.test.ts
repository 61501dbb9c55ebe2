import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { formatAddress, hostNameInvalid, nbdUri, parseAddress, printable } from "./names.ts";

const refused = (text: string): void => {
  assert.throws(
    () => parseAddress(text),
    (error) => error instanceof CodedError && error.code === "address-invalid",
  );
};

test("addresses are socket paths or address and port", () => {
  assert.deepEqual(parseAddress("/run/a.sock"), { kind: "unix", path: "/run/a.sock" });
  assert.deepEqual(parseAddress("unix:/run/a.sock"), { kind: "unix", path: "/run/a.sock" });
  assert.deepEqual(parseAddress("127.0.0.1:10809"), {
    kind: "tcp",
    host: "127.0.0.1",
    port: 10_809,
  });
  assert.deepEqual(parseAddress(":10809"), { kind: "tcp", host: "127.0.0.1", port: 10_809 });
  assert.deepEqual(parseAddress("[::1]:80"), { kind: "tcp", host: "::1", port: 80 });
});

test("everything else is refused", () => {
  for (const text of [
    "",
    "demo",
    "a.sock",
    "1.2.3.4",
    "1.2.3.4:",
    "1.2.3.4:99999",
    "unix:a.sock",
    "a b:1",
  ])
    refused(text);
  refused(`/${"x".repeat(107)}`);
});

test("an address survives being written and read", () => {
  for (const text of ["/run/a.sock", "127.0.0.1:10809", "[::1]:80"]) {
    assert.equal(formatAddress(parseAddress(text)), text);
  }
});

test("an NBD URI names the export and escapes what URIs cannot hold", () => {
  assert.equal(
    nbdUri(parseAddress("/run/a b.sock"), "demo"),
    "nbd+unix:///demo?socket=/run/a%20b.sock",
  );
  assert.equal(
    nbdUri(parseAddress("/run/x';touch$IFS&#(y)!*;'.sock"), "it's"),
    "nbd+unix:///it%27s?socket=/run/x%27%3Btouch%24IFS%26%23%28y%29%21%2A%3B%27.sock",
  );
  assert.equal(nbdUri(parseAddress("[::1]:80"), "demo"), "nbd://[::1]:80/demo");
});

test("names of hosts keep to letters, digits and three signs", () => {
  assert.equal(hostNameInvalid("h1.example-net_2"), undefined);
  for (const name of ["-a", "", "a b", "ä", "a/b", "x".repeat(64)])
    assert.ok(hostNameInvalid(name) !== undefined, name);
});

test("control characters of a user's text never reach a terminal", () => {
  assert.equal(printable("a\u001b[31mb\n"), "a?[31mb?");
  assert.equal(printable("x".repeat(200)).length, 80);
});
