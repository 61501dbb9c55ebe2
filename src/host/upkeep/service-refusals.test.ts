import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import type { LeavingView } from "./repair-views.ts";
import { inOneLine, refusalOf } from "./service-refusals.ts";

const MIB = 2 ** 20;

function leaving(what: LeavingView["what"], bytes: number, device?: string): LeavingView {
  const known = { volume: "web1", componentId: "c1", what, bytes };
  return device === undefined ? known : { ...known, host: "h2", device };
}

function room(deviceId: string, freeBytes: number) {
  return { deviceId, path: `/dev/${deviceId}`, host: "h2", freeBytes, capacityBytes: 100 * MIB };
}

test("what has no other place to go to refuses, and says what would help", () => {
  const components = [leaving("stuck", MIB), leaving("moves", MIB, "d1")];
  const refusal = refusalOf({ components, mode: "evacuate" }, []);
  assert.equal(refusal?.code, "evacuation-impossible");
  assert.equal(refusal.message, "1 components have no other place to go to, of web1");
  assert.match(inOneLine(refusal), /of web1; add a host, or use --mode ensure-accessibility/);
  const fine = [leaving("moves", MIB, "d1"), leaving("stays", 0)];
  assert.equal(refusalOf({ components: fine, mode: "none" }, [room("d1", 6 * MIB)]), undefined);
});

test("more than fits on a device and keeps 5 % of it free refuses, all of that together", () => {
  const components = [leaving("moves", 6 * MIB, "d1"), leaving("moves", 5 * MIB, "d1")];
  const asked = { components, mode: "evacuate" } as const;
  const refusal = refusalOf(asked, [room("d1", 15 * MIB)]);
  assert.equal(refusal?.code, "evacuation-too-large");
  assert.match(refusal.message, /^11 MiB would go to .*, which has room for 10 MiB beside/);
  assert.equal(refusalOf(asked, [room("d1", 16 * MIB)]), undefined);
});
