/** What there may be only so many of, and what two hosts may not do at the same moment. */
import assert from "node:assert/strict";
import { DirectoryWorld } from "../../test/support/directory-world.ts";
import { test } from "../../test/support/test.ts";
import { createAccessToken } from "./access-token.ts";
import { putRotation, readRotation } from "./authority-rotation.ts";
import { createNbdClient } from "./nbd-client-record.ts";

const CLUSTER = "c1";
const MAX = 1000;
const SECRET = "a".repeat(64);

test("there are a thousand clients of NBD at most", async () => {
  await DirectoryWorld.run(async ({ directory }) => {
    const create = (name: string): Promise<void> => {
      const known = { name, volumes: ["*"], proof: "key", secret: SECRET } as const;
      return createNbdClient(directory, CLUSTER, { ...known, createdMs: 0, expiresMs: 1 });
    };
    for (let i = 0; i < MAX; i++) await create(`c${i}`);
    await assert.rejects(create("one-more"), { code: "too-many-clients" });
  });
});

test("there are a thousand tokens for the API at most", async () => {
  await DirectoryWorld.run(async ({ directory }) => {
    const create = (i: number): Promise<void> =>
      createAccessToken(directory, CLUSTER, {
        id: i.toString(16).padStart(16, "0"),
        name: `t${i}`,
        role: "viewer",
        scopes: [],
        hash: SECRET,
        createdMs: 0,
        expiresMs: 1,
      });
    for (let i = 0; i < MAX; i++) await create(i);
    await assert.rejects(create(MAX), { code: "too-many-tokens" });
  });
});

test("of two hosts that move the replacement of the authority on, one does", async () => {
  await DirectoryWorld.run(async ({ directory }) => {
    const pems = { oldPem: "old", newPem: "new" };
    const rotation = { generation: 1, isHeld: false, keyHostId: "h1", startedMs: 1, ...pems };
    await putRotation(directory, CLUSTER, { ...rotation, step: "trust" }, 0);
    const found = await readRotation(directory, CLUSTER);
    const revision = found?.revision ?? 0;
    const moveOn = (): Promise<void> =>
      putRotation(directory, CLUSTER, { ...rotation, step: "issue" }, revision);
    await moveOn();
    await assert.rejects(moveOn(), { code: "rotation-contended" });
  });
});
