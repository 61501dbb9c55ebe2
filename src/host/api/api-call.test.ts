import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import { test } from "../../../test/support/test.ts";
import { CodedError } from "../../base/index.ts";
import { callApi } from "./api-call.ts";

async function answered(
  listener: RequestListener,
  work: (api: string) => Promise<void>,
): Promise<void> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  try {
    await work(`http://127.0.0.1:${address.port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("an answer without an end is given up, and the caller is told why", async () => {
  const piece = Buffer.alloc(1 << 20, " ");
  let sentBytes = 0;
  await answered(
    (_request, response) => {
      const go = (): void => {
        let hasRoom = true;
        while (hasRoom && !response.destroyed) {
          hasRoom = response.write(piece);
          sentBytes += piece.length;
        }
        response.once("drain", go);
      };
      go();
    },
    async (api) => {
      await assert.rejects(
        callApi(api, "GET", "/v1/events", undefined, { limitMs: 3000 }),
        (error) => {
          assert.ok(error instanceof CodedError);
          assert.match(error.message, /its answer is longer than 32 MiB/);
          return error.code === "connection-failed";
        },
      );
      assert.ok(sentBytes < 64 << 20, `${sentBytes} bytes`);
    },
  );
});

test("a long answer in many pieces is put together", async () => {
  const long = { text: "ö".repeat(3 << 20) };
  await answered(
    (_request, response) => response.end(JSON.stringify(long)),
    async (api) => assert.deepEqual(await callApi(api, "GET", "/v1/volumes"), long),
  );
});
