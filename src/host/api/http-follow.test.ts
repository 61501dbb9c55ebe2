import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "../../../test/support/test.ts";
import { quietBackend } from "./http-api.fuzz.ts";
import { HttpApi } from "./http-api.ts";

const FOLLOWERS_MAX = 64;

test("who leaves while past events are looked up does not stay a follower", async (t) => {
  const bugs: string[] = [];
  const quiet = quietBackend(bugs);
  const held: (() => void)[] = [];
  let isHeld = true;
  let listenerCount = 0;
  let allStopped = (): void => {};
  const stopped = new Promise<void>((resolve) => (allStopped = resolve));
  const events = async (): Promise<never> => {
    if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
    return { events: [], lastSequence: 0 } as never;
  };
  const followEvents = (): (() => void) => {
    listenerCount++;
    return () => {
      listenerCount--;
      allStopped();
    };
  };
  const api = new HttpApi({ ...quiet, handlers: { ...quiet.handlers, events }, followEvents });
  const port = await api.listen("127.0.0.1", 0);
  t.after(() => api.close());

  const clients = Array.from({ length: FOLLOWERS_MAX }, () => {
    const client = connect(port, "127.0.0.1");
    client.on("error", () => {});
    client.write("GET /v1/events?follow=true HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    return client;
  });
  while (held.length < FOLLOWERS_MAX) await new Promise((resolve) => setImmediate(resolve));
  for (const client of clients) client.resetAndDestroy();
  isHeld = false;
  const left = new AbortController();
  const follow = async (): Promise<number> => {
    const url = `http://127.0.0.1:${port}/v1/events?follow=true`;
    return (await fetch(url, { signal: left.signal })).status;
  };
  // Those that look up events count, too, until their connections are known to be gone.
  while ((await follow()) !== 200);
  for (const release of held) release();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(listenerCount, 1);
  left.abort();
  await stopped;
  assert.equal(listenerCount, 0);
  assert.deepEqual(bugs, []);
});
