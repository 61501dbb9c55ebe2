import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { redacted } from "./redaction.ts";

test("secrets are removed wherever they stand, and nothing else is", () => {
  const pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----";
  const token = "drystone-AbCdEfGhIjKlMnOpQrStUvWx";
  const shown = redacted({
    token: "anything",
    nested: [{ keyPem: `before ${pem} after`, line: `join --token ${token} --address 10.0.0.2` }],
    headers: { authorization: "Bearer abc.def" },
    message: "asked with Bearer abc.def and password=hunter2 for volume web1",
    tokens: 3,
    volume: "web1",
    none: null,
  });
  assert.deepEqual(shown, {
    token: "(removed)",
    nested: [
      { keyPem: "before (removed) after", line: "join --token (removed) --address 10.0.0.2" },
    ],
    headers: { authorization: "(removed)" },
    message: "asked with (removed) and (removed) for volume web1",
    tokens: 3,
    volume: "web1",
    none: null,
  });
});
