import assert from "node:assert/strict";
import fc from "fast-check";
import { TestStream } from "../../../test/nbd/test-stream.ts";
import { test } from "../../../test/support/test.ts";
import { ReplyRing } from "./reply-ring.ts";

const TOKEN_FIRST = 256;

test("replies leave whole and in order while room is asked for first", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(16, 20, 26, 32) },
    { weight: 2, arbitrary: fc.constant("flush" as const) },
    { weight: 1, arbitrary: fc.constant("drain" as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 500, maxLength: 3000 }), (steps) => {
      const stream = new TestStream();
      const ring = new ReplyRing(TOKEN_FIRST);
      const sent: Buffer[] = [];
      stream.start({
        data() {},
        written: (token) => ring.written(token),
        drained() {},
        ended() {},
        closed() {},
      });
      let value = 0;
      for (const action of steps) {
        if (action === "flush") ring.flush(stream);
        else if (action === "drain") stream.drain();
        else if (ring.hasRoom(1)) {
          value = (value + 1) % 256;
          const at = ring.append(stream, action);
          ring.bytes.fill(value, at, at + action);
          sent.push(Buffer.alloc(action, value));
        }
      }
      ring.flush(stream);
      stream.drain();
      assert.deepEqual(stream.takeReceived(), Buffer.concat(sent));
      assert(ring.hasRoom(500), "all of the ring is free again");
    }),
    { numRuns: 50 },
  );
});
