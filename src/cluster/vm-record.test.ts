/** What is written into the records of machines can be read again. */
import assert from "node:assert/strict";
import { DirectoryWorld } from "../../test/support/directory-world.ts";
import { test } from "../../test/support/test.ts";
import { vm } from "../../test/support/vm-world.ts";
import { createVm, decided, findVm, swapVm } from "./vm-record.ts";

const CLUSTER = "c1";
const LONG = "x".repeat(5000);

test("whatever an error says becomes a reason that can be read", async () => {
  await DirectoryWorld.run(async ({ directory }) => {
    await createVm(directory, CLUSTER, vm("a"));
    for (const because of [LONG, ""]) {
      const stored = await findVm(directory, CLUSTER, "a");
      const next = decided(stored.record, { timeMs: 1, hostId: "h1", what: "fails", because });
      assert.ok(await swapVm(directory, CLUSTER, stored, next));
    }
    const { history } = (await findVm(directory, CLUSTER, "a")).record;
    assert.deepEqual(
      history.map(({ because }) => because.length),
      [2000, "nothing was said".length],
    );
    assert.match(history[0]!.because, /x…$/);
  });
});

test("what an operator gives and nobody could read is refused with the field's name", async () => {
  await DirectoryWorld.run(async ({ directory }) => {
    const commandLine = "";
    for (const [field, change] of [
      ["name", { volumes: [LONG] }],
      ["firmwarePath", { firmwarePath: LONG }],
      ["kernelPath", { boot: { kind: "kernel", kernelPath: LONG, initrdPath: "/i", commandLine } }],
      ["initrdPath", { boot: { kind: "kernel", kernelPath: "/k", initrdPath: LONG, commandLine } }],
    ] as const) {
      const refused = createVm(directory, CLUSTER, { ...vm("a"), ...change });
      const message = `a cannot be made: "${field}" must be a text of 1 to 4096 characters`;
      await assert.rejects(refused, { code: "vm-invalid", message });
    }
  });
});

test("a record that nobody could read is not written", async () => {
  await DirectoryWorld.run(async ({ directory }) => {
    await createVm(directory, CLUSTER, vm("a"));
    const stored = await findVm(directory, CLUSTER, "a");
    for (const change of [{ hostId: LONG }, { lastFailureMs: 0.5 }, { history: [{}] as never }])
      await assert.rejects(swapVm(directory, CLUSTER, stored, { ...stored.record, ...change }), {
        code: "vm-invalid",
      });
    assert.deepEqual(await findVm(directory, CLUSTER, "a"), stored);
  });
});
