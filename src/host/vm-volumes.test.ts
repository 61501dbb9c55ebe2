import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import type { DataPlaneMethods } from "./data-plane-port.ts";
import type { RpcPeer } from "./rpc.ts";
import { detachForVm } from "./vm-volumes.ts";

test("a host that ends a machine which has moved lets go of its own attachment alone", async () => {
  const asked: string[] = [];
  const call = async (method: string, volume: unknown): Promise<undefined> => {
    asked.push(`${method} ${String(volume)}`);
    if (method === "detachHere")
      throw new CodedError({ code: "volume-not-attached", message: "not here" });
    return undefined;
  };
  const plane = { call } as unknown as Pick<RpcPeer<object, DataPlaneMethods>, "call">;
  await detachForVm(plane, "disk");
  // `detach` would be passed on to the host that the machine has moved to.
  assert.deepEqual(asked, ["expectNoMore disk", "detachHere disk"]);
});
