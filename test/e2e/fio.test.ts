/** fio as a judge of its own: what it wrote with checksums it reads back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nbdUri } from "./block-server.ts";
import { fio } from "./fio.ts";
import { isLong, startServer } from "./harness.ts";

const SECONDS = isLong ? 300 : 15;
const VOLUME_BYTES = isLong ? 2 ** 30 : 256 << 20;

test(
  `fio verifies random writes of 512 B to 256 KiB at queue depth 32 over ${SECONDS} s`,
  { timeout: (SECONDS * 4 + 120) * 1000 },
  async (t) => {
    const server = await startServer(t);
    const address = await server.volume("fio", VOLUME_BYTES);
    const job = await fio({
      uri: nbdUri(address),
      timeoutMs: (SECONDS * 4 + 60) * 1000,
      args: [
        "--rw=randwrite",
        "--bssplit=512/15:2k/10:4k/35:8k/10:64k/20:256k/10",
        "--blockalign=512",
        "--iodepth=32",
        `--size=${VOLUME_BYTES}`,
        "--norandommap=1",
        "--serialize_overlap=1",
        `--runtime=${SECONDS}`,
        "--loops=1000000",
        "--verify=crc32c",
        "--verify_fatal=1",
        "--do_verify=1",
        "--randseed=7",
      ],
    });
    assert.equal(job.error, 0);
    assert.ok(job.write.total_ios > 0, "fio wrote nothing");
    assert.ok(job.read.total_ios > 0, "fio verified nothing");
    t.diagnostic(`${job.write.total_ios} writes, ${job.read.total_ios} verifying reads`);
  },
);
