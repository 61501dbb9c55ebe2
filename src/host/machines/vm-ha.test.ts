import assert from "node:assert/strict";
import { CodedError } from "../../base/index.ts";
import { test } from "../../../test/support/test.ts";
import { haPeers } from "./vm-ha.ts";

const STATE = { vm: "web", sequence: 3, isProtected: true };

test("what another host says of machines' homes is checked, and only of those it was asked for", async () => {
  const said = (answer: unknown): Promise<unknown> =>
    haPeers({ askHa: () => Promise.resolve(answer) }).retrieve("b", ["web", "db"]);
  const bad = [null, {}, [null], [{ ...STATE, vm: 1 }], [{ ...STATE, sequence: 0.5 }]];
  for (const answer of [...bad, [{ ...STATE, sequence: -1 }], [{ ...STATE, isProtected: "yes" }]])
    await assert.rejects(said(answer), (error) => {
      return error instanceof CodedError && error.code === "message-invalid";
    });
  assert.deepEqual(await said([STATE, { ...STATE, vm: "mail" }]), [STATE]);
});
