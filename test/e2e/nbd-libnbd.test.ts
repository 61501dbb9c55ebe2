import assert from "node:assert/strict";
import { test } from "node:test";
import { serve } from "./nbd-memory-server.ts";
import { runTool } from "./process.ts";

const MIB = 1 << 20;
/** Debian's own: the binding belongs to it, whatever other Python is first in the path. */
const PYTHON = "/usr/bin/python3";

const PRELUDE = `
import nbd, sys
uri = sys.argv[1]
socket = sys.argv[2]
h = nbd.NBD()
h.set_strict_mode(0)

def fails(name, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except nbd.Error as error:
        assert error.errno == name, (error.errno, name, error.string)
    else:
        raise AssertionError("no error: %s %s" % (call.__name__, args))
`;

async function script(served: { uri: string; socket: string }, body: string): Promise<void> {
  await runTool(PYTHON, ["-c", PRELUDE + body, served.uri, served.socket]);
}

test("libnbd: every command with every flag", async (t) => {
  const served = await serve(t, { sizeBytes: 64 * MIB });
  await script(
    served,
    `
h.add_meta_context("base:allocation")
h.connect_uri(uri)
assert h.get_structured_replies_negotiated()
assert h.can_meta_context("base:allocation")
h.pwrite(b"a" * 4096, 0)
h.pwrite(b"b" * 512, 512, nbd.CMD_FLAG_FUA)
assert h.pread(1536, 0) == b"a" * 512 + b"b" * 512 + b"a" * 512
h.flush()
h.cache(4096, 0)
h.trim(4096, 8192)
h.trim(4096, 8192, nbd.CMD_FLAG_FUA)
h.zero(8192, 16384)
h.zero(8192, 16384, nbd.CMD_FLAG_NO_HOLE)
h.zero(8192, 16384, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA)
h.zero(4096, 32768, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA)

chunks = []
def chunk(data, offset, status, error):
    chunks.append((offset, len(data), status, error.value))
data = h.pread_structured(65536, 0, chunk)
assert data[:512] == b"a" * 512 and data[4096:] == bytes(61440)
assert [c[2] for c in chunks] == [nbd.READ_DATA, nbd.READ_HOLE], chunks
chunks.clear()
h.pread_structured(65536, 0, chunk, nbd.CMD_FLAG_DF)
assert chunks == [(0, 65536, nbd.READ_DATA, 0)], chunks
chunks.clear()
h.pread_structured(32 * 1024 * 1024, 0, chunk)
assert sum(c[1] for c in chunks) == 32 * 1024 * 1024

extents = []
def extent(context, offset, entries, error):
    assert context == "base:allocation" and error.value == 0
    extents.append((offset, list(entries)))
h.block_status(65536, 0, extent)
assert extents == [(0, [4096, 0, 28672, 3, 4096, 2, 28672, 3])], extents
extents.clear()
h.block_status(65536, 512, extent, nbd.CMD_FLAG_REQ_ONE)
assert extents == [(512, [3584, 0])], extents
h.shutdown()
`,
  );
});

test("libnbd: every refusal has its error, and the connection lives on", async (t) => {
  const served = await serve(t, { sizeBytes: MIB });
  await script(
    served,
    `
h.add_meta_context("base:allocation")
h.connect_uri(uri)
size = h.get_size()
fails("EINVAL", h.pread, 512, size)
fails("EINVAL", h.pread, 1, 0)
fails("EINVAL", h.pread, 512, 1)
fails("ENOSPC", h.pwrite, bytes(512), size)
fails("EINVAL", h.pwrite, bytes(100), 0)
fails("ENOSPC", h.zero, 512, size)
fails("EINVAL", h.trim, 512, size)
fails("EINVAL", h.cache, 512, size)
fails("EINVAL", h.block_status, 512, size, lambda *args: 0)
calls = ((h.pwrite, (bytes(512), 0)), (h.trim, (512, 0)), (h.cache, (512, 0)), (h.flush, ()))
for call, args in calls:
    fails("EINVAL", call, *args, flags=nbd.CMD_FLAG_REQ_ONE)
fails("EINVAL", h.pread, 512, 0, nbd.CMD_FLAG_NO_HOLE)
fails("EINVAL", h.zero, 512, 0, nbd.CMD_FLAG_DF)
h.pread(512, 0)
h.shutdown()
`,
  );
});

test("libnbd: a read-only export refuses every change with EPERM", async (t) => {
  const served = await serve(t, { sizeBytes: MIB, readOnly: true });
  await script(
    served,
    `
h.connect_uri(uri)
assert h.is_read_only()
fails("EPERM", h.pwrite, bytes(512), 0)
fails("EPERM", h.trim, 512, 0)
fails("EPERM", h.zero, 512, 0)
h.pread(512, 0)
h.flush()
`,
  );
});

test("libnbd: options one by one, before it goes", async (t) => {
  const served = await serve(t, { sizeBytes: MIB });
  await script(
    served,
    `
h.set_opt_mode(True)
h.connect_unix(socket)
assert h.get_protocol() == "newstyle-fixed"
names = []
assert h.opt_list(lambda name, description: names.append((name, description))) == 1
assert names == [("v1", "a volume in memory")], names
contexts = []
assert h.opt_list_meta_context(contexts.append) == 1
assert contexts == ["base:allocation"]
h.set_export_name("nobody")
fails("ENOENT", h.opt_info)
fails("ENOENT", h.opt_go)
h.set_export_name("v1")
h.set_full_info(True)
h.opt_info()
assert h.get_size() == 1024 * 1024
assert h.get_canonical_export_name() == "v1"
assert h.get_export_description() == "a volume in memory"
assert h.get_block_size(nbd.SIZE_MINIMUM) == 512
assert h.get_block_size(nbd.SIZE_PREFERRED) == 4096
assert h.get_block_size(nbd.SIZE_MAXIMUM) == 32 * 1024 * 1024
h.set_export_name("")
h.opt_go()
h.pread(512, 0)
h.shutdown()

h = nbd.NBD()
h.set_opt_mode(True)
h.connect_unix(socket)
h.opt_abort()
`,
  );
});

test("libnbd: old clients, and clients that want TLS", async (t) => {
  const served = await serve(t, { sizeBytes: 4 * MIB });
  await script(
    served,
    `
for flags in (0, nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE, nbd.HANDSHAKE_FLAG_NO_ZEROES, 3):
    h = nbd.NBD()
    h.set_handshake_flags(flags)
    h.set_request_structured_replies(False)
    h.set_export_name("v1")
    h.connect_unix(socket)
    h.pwrite(b"x" * 1024, 2048)
    assert h.pread(1024, 2048) == b"x" * 1024
    assert len(h.pread(3 * 1024 * 1024 + 512, 0)) == 3 * 1024 * 1024 + 512
    h.shutdown()

h = nbd.NBD()
h.set_tls(nbd.TLS_ALLOW)
h.connect_unix(socket)
assert not h.get_tls_negotiated()
h = nbd.NBD()
h.set_tls(nbd.TLS_REQUIRE)
try:
    h.connect_unix(socket)
except nbd.Error as error:
    assert "TLS" in error.string, error.string
else:
    raise AssertionError("connected without TLS")
`,
  );
});

test("libnbd: replies out of order, many requests in flight on several connections", async (t) => {
  const served = await serve(t, { sizeBytes: 16 * MIB });
  await script(
    served,
    `
handles = []
for _ in range(4):
    h = nbd.NBD()
    h.connect_uri(uri)
    assert h.can_multi_conn()
    handles.append(h)
for round in range(4):
    started = []
    for lane, h in enumerate(handles):
        for i in range(400):
            at = lane * 4 * 1024 * 1024 + i * 4096
            payload = nbd.Buffer.from_bytearray(bytearray([(i + round) % 251] * 4096))
            started.append((h, h.aio_pwrite(payload, at)))
    for h, cookie in started:
        while not h.aio_command_completed(cookie): h.poll(-1)
    handles[0].flush()
    for lane in range(4):
        other = handles[(lane + 1) % 4]
        for i in range(0, 400, 7):
            data = other.pread(4096, lane * 4 * 1024 * 1024 + i * 4096)
            assert data == bytes([(i + round) % 251] * 4096)
`,
  );
  assert(served.server.connections().every(({ requestsTotal }) => requestsTotal > 1600));
});

test("libnbd: a server that stops ends its connections", async (t) => {
  const served = await serve(t, { sizeBytes: MIB });
  const client = script(
    served,
    `
h.connect_uri(uri)
h.pwrite(b"z" * 4096, 0)
try:
    while True: h.pread(4096, 0)
except nbd.Error as error:
    assert error.errno in (None, "ESHUTDOWN", "ENOTCONN", "EPIPE"), (error.errno, error.string)
`,
  );
  while ((served.server.connections()[0]?.requestsTotal ?? 0) < 100) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  await served.server.close(2000);
  await client;
});
