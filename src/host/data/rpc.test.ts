import assert from "node:assert/strict";
import { MessageChannel } from "node:worker_threads";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { RpcPeer } from "./rpc.ts";

interface Left {
  double(value: number): Promise<number>;
}

interface Right {
  greet(request: { readonly name: string }): Promise<string>;
  refuse(code: string): Promise<never>;
  crash(argument: undefined): Promise<never>;
  never(argument: undefined): Promise<void>;
}

function pair(t: { after(callback: () => void): void }): {
  left: RpcPeer<Left, Right>;
  right: RpcPeer<Right, Left>;
} {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const left = new RpcPeer<Left, Right>(port1, { double: async (value) => 2 * value });
  const right: RpcPeer<Right, Left> = new RpcPeer(port2, {
    greet: async ({ name }) => `hello ${name} ${await right.call("double", 21)}`,
    refuse: async (code) =>
      Promise.reject(new CodedError({ code, message: "no", hint: "ask again", details: { a: 1 } })),
    crash: async () => Promise.reject(new TypeError("broken")),
    never: () => new Promise(() => undefined),
  });
  return { left, right };
}

test("calls cross both ways", async (t) => {
  const { left } = pair(t);
  assert.equal(await left.call("greet", { name: "you" }), "hello you 42");
});

test("a coded error crosses with everything it says", async (t) => {
  const { left } = pair(t);
  await assert.rejects(left.call("refuse", "no-space"), (error) => {
    assert.ok(error instanceof CodedError);
    assert.deepEqual(error.fault, {
      code: "no-space",
      message: "no",
      hint: "ask again",
      details: { a: 1 },
    });
    return true;
  });
});

test("a bug crosses as an error with the other side's stack", async (t) => {
  const { left } = pair(t);
  await assert.rejects(left.call("crash", undefined), (error) => {
    assert.ok(error instanceof Error && !(error instanceof CodedError));
    assert.match(error.stack ?? "", /TypeError: broken[\s\S]*rpc\.test/);
    return true;
  });
});

test("when the other side is gone, what waits and what comes is rejected", async (t) => {
  const { left } = pair(t);
  const waiting = left.call("never", undefined);
  left.fail(new CodedError({ code: "data-worker-died", message: "gone" }));
  await assert.rejects(waiting, { code: "data-worker-died" });
  await assert.rejects(left.call("greet", { name: "you" }), { code: "data-worker-died" });
});
