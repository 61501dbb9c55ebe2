import assert from "node:assert/strict";
import {
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CodedError } from "../../base/index.ts";
import type { DescriptorStream, ReceivedDescriptor } from "../../ports/index.ts";
import { EventCounter } from "./event-counter.ts";
import { MappedMemory } from "./mapped-memory.ts";
import { MemfdSharedMemory } from "./memfd-shared-memory.ts";
import { MemoryFile } from "./memory-file.ts";
import {
  addSeals,
  clearCounter,
  createMemoryFile,
  duplicate,
  SEAL_FUTURE_WRITE,
  SEAL_SHRINK,
  SEAL_WRITE,
} from "./shared-sys.ts";
import { nativeFunction } from "../sys.ts";

const PAGE = 4096;
let folder = "";

before(() => {
  folder = mkdtempSync(join(tmpdir(), "drystone-shared-"));
});
after(() => rmSync(folder, { recursive: true }));

interface Pair {
  readonly client: DescriptorStream;
  readonly server: DescriptorStream;
  readonly shared: MemfdSharedMemory;
}

/** Two ends of a connection, closed with the listener when `use` is done. */
async function withPair(name: string, use: (pair: Pair) => Promise<void> | void): Promise<void> {
  const shared = new MemfdSharedMemory();
  const path = join(folder, name);
  let accepted: (stream: DescriptorStream) => void;
  const accepting = new Promise<DescriptorStream>((resolve) => {
    accepted = resolve;
  });
  const listener = await shared.listen(path, (stream) => accepted(stream));
  const client = await shared.connect(path);
  const server = await accepting;
  try {
    await use({ client, server, shared });
  } finally {
    client.close();
    server.close();
    await listener.close();
  }
}

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

function text(bytes: string): Uint8Array {
  return new TextEncoder().encode(bytes);
}

function receiveText(stream: DescriptorStream, descriptors: ReceivedDescriptor[]): string {
  const target = new Uint8Array(100);
  const count = stream.receive(target, 0, 100, descriptors);
  return count < 0 ? "END" : new TextDecoder().decode(target.subarray(0, count));
}

test("memory that was sent is the same memory at both ends", async () => {
  await withPair("memory", ({ client, server, shared }) => {
    const file = shared.createFile("test", 4 * PAGE);
    assert.ok(client.send(text("here"), [file]));
    const received: ReceivedDescriptor[] = [];
    assert.equal(receiveText(server, received), "here");
    assert.equal(received.length, 1);
    const theirs = received[0]!.asFile();
    assert.equal(theirs.sizeBytes, 4 * PAGE);
    const one = file.map(0, 4 * PAGE);
    const other = theirs.map(PAGE, PAGE);
    one.memory.bytes[PAGE + 5] = 77;
    assert.equal(other.memory.bytes[5], 77);
    other.memory.bytes[6] = 78;
    assert.equal(one.memory.bytes[PAGE + 6], 78);
    one.release();
    other.release();
    file.close();
    theirs.close();
  });
});

test("an event wakes whoever watches it, in the other direction too", async () => {
  await withPair("event", async ({ client, server, shared }) => {
    const event = shared.createEvent();
    client.send(text("e"), [event]);
    const received: ReceivedDescriptor[] = [];
    receiveText(server, received);
    const theirs = received[0]!.asEvent();
    let wake: (() => void) | undefined;
    let calls = 0;
    event.watch(() => {
      calls++;
      wake?.();
    });
    for (let round = 1; round <= 3; round++) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      theirs.signal();
      theirs.signal();
      await woken;
      await new Promise(setImmediate);
      assert.equal(calls, round, "signals before the callback are one");
    }
    event.close();
    theirs.signal();
    await new Promise(setImmediate);
    assert.equal(calls, 3);
    theirs.close();
  });
});

test("descriptors come with the first byte of their message, however it is read", async () => {
  await withPair("order", ({ client, server, shared }) => {
    const event = shared.createEvent();
    client.send(text("aa"), []);
    client.send(text("bb"), [event, event]);
    client.send(text("cc"), []);
    const take = (count: number): [string, number] => {
      const descriptors: ReceivedDescriptor[] = [];
      const target = new Uint8Array(count);
      assert.equal(server.receive(target, 0, count, descriptors), count);
      for (const descriptor of descriptors) descriptor.close();
      return [new TextDecoder().decode(target), descriptors.length];
    };
    assert.deepEqual(take(2), ["aa", 0]);
    assert.deepEqual(take(1), ["b", 2]);
    assert.deepEqual(take(1), ["b", 0]);
    assert.deepEqual(take(2), ["cc", 0]);
    assert.equal(server.receive(new Uint8Array(1), 0, 1, []), 0);
    event.close();
  });
});

test("readable is told while something is there, and the end is an end", async () => {
  await withPair("readable", async ({ client, server }) => {
    const heard: string[] = [];
    let done: () => void;
    const ended = new Promise<void>((resolve) => {
      done = resolve;
    });
    server.start({
      readable: () => {
        const piece = new Uint8Array(1);
        const count = server.receive(piece, 0, 1, []);
        heard.push(count < 0 ? "END" : String.fromCharCode(piece[0]!));
        if (count < 0) {
          server.close();
          done();
        }
      },
    });
    client.send(text("xy"), []);
    client.close();
    await ended;
    assert.deepEqual(heard, ["x", "y", "END"]);
  });
});

test("an end with unread bytes at the other side is an end too", async () => {
  await withPair("reset", ({ client, server }) => {
    server.send(text("unread"), []);
    client.send(text("z"), []);
    client.close();
    assert.equal(receiveText(server, []), "z");
    assert.equal(receiveText(server, []), "END");
    assert.equal(server.send(text("late"), []), false);
  });
});

test("an end that takes nothing is not waited for", async () => {
  await withPair("full", ({ client }) => {
    const message = new Uint8Array(PAGE);
    let sent = 0;
    while (client.send(message, [])) {
      sent++;
      assert.ok(sent < 10_000, "a socket's buffer has an end");
    }
    assert.ok(sent > 0);
  });
});

test("too many descriptors are refused, and none is left open", async () => {
  await withPair("many", ({ client, server, shared }) => {
    const event = shared.createEvent();
    const before = openDescriptors();
    client.send(
      text("m"),
      Array.from({ length: 12 }, () => event),
    );
    const received: ReceivedDescriptor[] = [];
    assert.throws(
      () => server.receive(new Uint8Array(9), 0, 9, received),
      (error) => error instanceof CodedError && error.code === "descriptors-invalid",
    );
    for (const descriptor of received) descriptor.close();
    assert.equal(openDescriptors(), before);
    event.close();
  });
});

function memoryOf(sizeBytes: number): number {
  const fd = createMemoryFile("memory");
  ftruncateSync(fd, sizeBytes);
  addSeals(fd, SEAL_SHRINK);
  return fd;
}

test("only memory that cannot shrink and may be written is taken, and what is refused is closed", () => {
  const path = join(folder, "file");
  writeFileSync(path, new Uint8Array(PAGE));
  const before = openDescriptors();
  const refused = (fd: number, expected: RegExp): void => {
    assert.throws(
      () => MemoryFile.receive(fd),
      (error) =>
        error instanceof CodedError &&
        error.code === "memory-not-mappable" &&
        expected.test(error.message),
    );
  };
  refused(openSync(path, "r+"), /no file in memory/);
  refused(openSync("/dev/zero", "r+"), /no file in memory/);
  refused(createMemoryFile("open"), /not sealed/);
  const empty = createMemoryFile("empty");
  addSeals(empty, SEAL_SHRINK);
  refused(empty, /empty/);
  for (const seal of [SEAL_WRITE, SEAL_FUTURE_WRITE]) {
    const sealed = memoryOf(PAGE);
    addSeals(sealed, seal);
    refused(sealed, /sealed against writing/);
  }
  const whole = memoryOf(PAGE);
  for (const mode of ["r", "a"])
    refused(openSync(`/proc/self/fd/${whole}`, mode), /may not be written to|no file in memory/);
  MemoryFile.receive(whole).close();
  assert.equal(openDescriptors(), before);
});

test("a file that is sealed against writing later on is mapped no more, and its place stays", () => {
  const file = MemoryFile.receive(memoryOf(2 * PAGE));
  const before = file.map(0, PAGE);
  const { address } = before.memory.handle;
  before.release();
  addSeals(file.fd, SEAL_FUTURE_WRITE);
  for (let round = 0; round < 3; round++) {
    assert.throws(
      () => file.map(0, PAGE),
      (error) => error instanceof CodedError && error.code === "memory-not-mappable",
    );
  }
  assert.equal(before.memory.bytes[0], 0, "no view is over memory that is not there");
  const other = MemoryFile.create("other", PAGE);
  const mapping = other.map(0, PAGE);
  assert.equal(mapping.memory.handle.address, address);
  mapping.release();
  other.close();
  file.close();
});

test("only an eventfd is taken for an event, and what is refused is closed", () => {
  const before = openDescriptors();
  for (const path of ["/dev/null", folder]) {
    assert.throws(
      () => EventCounter.receive(openSync(path, "r")),
      (error) => error instanceof CodedError && error.code === "event-invalid",
    );
  }
  assert.equal(openDescriptors(), before);
});

/** What the other process may do at any moment, since it has the same open file. */
function makeBlocking(fd: number): void {
  const fcntl = nativeFunction<(fd: number, command: number, flags: number) => number>(
    "fcntl",
    "int",
    ["int", "int", "int"],
  );
  assert.equal(fcntl(fd, 4, 0), 0);
}

test("a counter that the other side has filled up does not keep us waiting", () => {
  const event = EventCounter.create();
  makeBlocking(event.fd);
  const full = new MappedMemory(PAGE);
  full.bytes.fill(0xff, 0, 8);
  full.bytes[0] = 0xfe;
  writeFileSync(event.fd, full.bytes.subarray(0, 8));
  event.signal();
  event.signal();
  event.close();
});

test("a counter that the other side has emptied does not keep us waiting", () => {
  const event = EventCounter.create();
  event.signal();
  makeBlocking(event.fd);
  clearCounter(event.fd);
  clearCounter(event.fd);
  event.close();
});

test("memory that went reads as zeroes, and its place is used again", () => {
  const file = MemoryFile.create("again", 2 * PAGE);
  const first = file.map(0, PAGE);
  const { bytes, handle } = first.memory;
  bytes.fill(5);
  first.release();
  assert.equal(bytes[0], 0, "a view that somebody kept sees nothing of the file");
  const second = file.map(PAGE, PAGE);
  assert.equal(second.memory.handle.address, handle.address);
  assert.equal(second.memory.bytes[0], 0);
  second.memory.bytes[0] = 6;
  const both = file.map(0, 2 * PAGE);
  assert.equal(both.memory.bytes[0], 5);
  assert.equal(both.memory.bytes[PAGE], 6);
  second.release();
  both.release();
  assert.throws(() => both.release(), /released once/);
  file.close();
});

function addressSpaceBytes(): number {
  return 1024 * Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]);
}

test("lengths that another process chooses cost no more address space than the longest", () => {
  const file = MemoryFile.receive(memoryOf(2 ** 30 + PAGE));
  const before = addressSpaceBytes();
  for (let round = 0; round < 3000; round++) {
    const mapping = file.map(0, 2 ** 30 - round * 80 * PAGE);
    assert.equal(mapping.memory.bytes.length, 2 ** 30 - round * 80 * PAGE);
    mapping.release();
  }
  assert.ok(addressSpaceBytes() - before <= 2 ** 31, "places are used again");
  file.close();
});

test("clients get so much address space in all, and then a refusal", () => {
  const file = MemoryFile.receive(memoryOf(2 ** 30));
  const mappings = Array.from({ length: 60 }, () => file.map(0, 2 ** 30));
  assert.throws(
    () => Array.from({ length: 5 }, () => mappings.push(file.map(0, 2 ** 30))),
    /cannot be mapped: clients have 64 GiB of address space already/,
  );
  file.map(0, PAGE).release();
  MemoryFile.receive(duplicate(file.fd)).close();
  const ours = MemoryFile.create("ours", 2 ** 30);
  ours.map(0, 2 ** 30).release();
  for (const mapping of mappings.splice(0)) mapping.release();
  file.map(0, 2 ** 30).release();
  file.close();
  ours.close();
});

test("a file that was closed leaves its mappings", () => {
  const file = MemoryFile.create("kept", PAGE);
  const copy = duplicate(file.fd);
  const mapping = file.map(0, PAGE);
  file.close();
  mapping.memory.bytes[9] = 1;
  const again = MemoryFile.receive(copy);
  assert.equal(again.map(0, PAGE).memory.bytes[9], 1);
  again.close();
  mapping.release();
});
