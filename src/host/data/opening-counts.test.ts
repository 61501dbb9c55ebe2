import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimLog, SimMachine, Simulation } from "../../sim/index.ts";
import { test } from "../../../test/support/test.ts";
import { OpeningCounts } from "./opening-counts.ts";

const PATH = "/dev/one";

function inFolder(
  work: (start: () => OpeningCounts, folder: string, log: SimLog) => Promise<void>,
) {
  const folder = mkdtempSync(join(tmpdir(), "drystone-openings-"));
  const log = new SimLog(new SimMachine(new Simulation({ seed: 1 })).clock);
  return work(() => new OpeningCounts(folder, log), folder, log).finally(() =>
    rmSync(folder, { recursive: true, force: true }),
  );
}

/** The process ends before the device is open. */
function end(counts: OpeningCounts): void {
  void counts.during(PATH, () => new Promise<never>(() => {}));
}

test("a device in whose opening the process has ended three times is left out once", async () => {
  await inFolder(async (start) => {
    for (const _end of [1, 2, 3]) end(start());
    const fourth = start();
    await assert.rejects(
      fourth.during(PATH, async () => assert.fail("it is not opened")),
      { code: "device-ends-host" },
    );
    assert.equal(await fourth.during("/dev/two", async () => "open"), "open");
    assert.equal(await start().during(PATH, async () => "open"), "open");
  });
});

test("an opening that ends well or with an error counts for nothing", async () => {
  await inFolder(async (start) => {
    for (const _end of [1, 2]) end(start());
    assert.equal(await start().during(PATH, async () => "open"), "open");
    for (const _end of [1, 2]) end(start());
    const refused = start().during(PATH, () => Promise.reject(new Error("refused")));
    await assert.rejects(refused, /refused/);
    for (const _end of [1, 2]) end(start());
    assert.equal(await start().during(PATH, async () => "open"), "open");
  });
});

test("counts that cannot be read or written keep no device from being opened", async () => {
  await inFolder(async (start, folder, log) => {
    writeFileSync(join(folder, "device-openings.json"), "{");
    const counts = start();
    assert.equal(await counts.during(PATH, async () => "open"), "open");
    rmSync(folder, { recursive: true });
    assert.equal(await counts.during(PATH, async () => "open"), "open");
    assert.deepEqual(
      log.messages("warning").map((message) => message.split(" ").at(-1)),
      ["read", "written", "written"],
    );
  });
});
