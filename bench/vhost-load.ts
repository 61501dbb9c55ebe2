/**
 * Load on a disk at a vhost-user socket, from a process of its own:
 *
 *   node dist/bench/vhost-load.js SOCKET PID DEPTH SECONDS read|write
 *
 * Blocks of 4 KiB at random places, DEPTH under way at once; a write is followed by a flush, and
 * counts when that is answered. Waits for answers by blocking on the event, as a virtual machine's
 * processor sleeps until its interrupt. Prints one line of JSON, with the processor time that the
 * process PID has used for each answer.
 */
import { readdirSync, readFileSync } from "node:fs";
import { FrontEnd } from "../src/client/front-end.ts";
import { DriverQueue, queuePlaces } from "../src/client/driver-queue.ts";
import { Prng } from "../src/base/index.ts";
import { EventCounter } from "../src/platform/memory/event-counter.ts";
import { MemfdSharedMemory } from "../src/platform/index.ts";
import { addToCounter, clearCounter } from "../src/platform/memory/shared-sys.ts";
import { nativeFunction } from "../src/platform/sys.ts";

const BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = 8;
const ENTRIES = 128;
const ADDRESS = 2 ** 30;
const RAMP_SECONDS = 0.3;
const SAMPLES_MAX = 4_000_000;
const READ = 0;
const WRITE = 1;
const FLUSH = 4;
const POLLIN = 1;
/** VERSION_1, PROTOCOL_FEATURES, EVENT_IDX, INDIRECT_DESC, FLUSH; REPLY_ACK, CONFIG. */
const FEATURES = [2 ** 30 + 2 ** 29 + 2 ** 28 + 2 ** 9, 1] as const;
const PROTOCOL = [2 ** 9 + 2 ** 3, 0] as const;

const poll = nativeFunction<(fds: Uint8Array, count: number, timeoutMs: number) => number>(
  "poll",
  "int",
  ["void *", "unsigned long", "int"],
);

function bits([low, high]: readonly [number, number]): Uint8Array {
  return new Uint8Array(Uint32Array.of(low, high).buffer);
}

/** Nanoseconds that all threads of a process have run. */
function cpuNs(pid: string): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    total += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  return total;
}

class Load {
  readonly #queue: DriverQueue;
  readonly #kick: EventCounter;
  readonly #call: EventCounter;
  readonly #blocks: number;
  readonly #depth: number;
  readonly #isWrite: boolean;
  readonly #dataAt = queuePlaces(ENTRIES).data;
  readonly #prng = new Prng(Date.now() % 2 ** 31);
  readonly #memory: Uint8Array;
  /** By slot: which lane it serves, and whether it is the lane's flush. */
  readonly #lanes = new Int16Array(ENTRIES);
  readonly #isFlush = new Uint8Array(ENTRIES);
  readonly #startMs: Float64Array;
  readonly #ready: number[] = [];
  readonly #latencies = new Float64Array(SAMPLES_MAX);
  #answers = 0;
  #isOver = false;

  constructor(
    parts: { queue: DriverQueue; kick: EventCounter; call: EventCounter; memory: Uint8Array },
    wanted: { sizeBytes: number; depth: number; isWrite: boolean },
  ) {
    this.#queue = parts.queue;
    this.#kick = parts.kick;
    this.#call = parts.call;
    this.#memory = parts.memory;
    this.#blocks = Math.floor(wanted.sizeBytes / BLOCK_BYTES);
    this.#depth = wanted.depth;
    this.#isWrite = wanted.isWrite;
    this.#startMs = new Float64Array(wanted.depth);
    this.#prng.fill(this.#memory.subarray(this.#dataAt));
  }

  run(seconds: number, pid: string): object {
    for (let lane = 0; lane < this.#depth; lane++) this.#ready.push(lane);
    this.#until(performance.now() + RAMP_SECONDS * 1000);
    this.#answers = 0;
    const cpuBefore = cpuNs(pid);
    const begin = performance.now();
    this.#until(begin + seconds * 1000);
    const elapsedSeconds = (performance.now() - begin) / 1000;
    const cpuUs = (cpuNs(pid) - cpuBefore) / 1000 / this.#answers;
    const answers = this.#answers;
    this.#drain();
    const count = Math.min(answers, SAMPLES_MAX);
    const sorted = this.#latencies.subarray(0, count).sort();
    const at = (part: number): number => 1000 * sorted[Math.floor(part * (count - 1))]!;
    const latency = { p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999) };
    return { iops: answers / elapsedSeconds, cpuUs, ...latency };
  }

  #until(deadlineMs: number): void {
    while (performance.now() < deadlineMs) this.#turn();
  }

  #drain(): void {
    this.#isOver = true;
    while (this.#queue.underWayCount > 0) this.#turn();
  }

  #turn(): void {
    if (!this.#isOver) for (const lane of this.#ready) this.#start(lane);
    this.#ready.length = 0;
    if (this.#queue.tell()) addToCounter(this.#kick.fd);
    const before = this.#queue.usedIndex;
    this.#queue.collect(this.#answered);
    if (this.#queue.usedIndex !== before || this.#queue.underWayCount === 0) return;
    const wanted = new Uint8Array(8);
    new DataView(wanted.buffer).setInt32(0, this.#call.fd, true);
    wanted[4] = POLLIN;
    poll(wanted, 1, -1);
    clearCounter(this.#call.fd);
    this.#queue.collect(this.#answered);
  }

  #start(lane: number): void {
    this.#startMs[lane] = performance.now();
    const at = this.#dataAt + lane * BLOCK_BYTES;
    const sector = this.#prng.below(this.#blocks) * SECTORS_PER_BLOCK;
    // No two blocks alike: a store that knows a content would have it easy.
    if (this.#isWrite) this.#prng.fill(this.#memory.subarray(at, at + 16));
    const type = this.#isWrite ? WRITE : READ;
    const slot = this.#queue.add(type, sector, at, BLOCK_BYTES, !this.#isWrite);
    this.#lanes[slot] = lane;
    this.#isFlush[slot] = 0;
  }

  readonly #answered = (slot: number, status: number): void => {
    if (status !== 0) throw new Error(`status ${status}`);
    const lane = this.#lanes[slot]!;
    if (this.#isWrite && this.#isFlush[slot] === 0) {
      const flush = this.#queue.add(FLUSH, 0, 0, 0, false);
      this.#lanes[flush] = lane;
      this.#isFlush[flush] = 1;
      return;
    }
    if (this.#answers < SAMPLES_MAX)
      this.#latencies[this.#answers] = performance.now() - this.#startMs[lane]!;
    this.#answers++;
    this.#ready.push(lane);
  };
}

async function main(): Promise<void> {
  const [path, pid, depth, seconds, kind] = process.argv.slice(2);
  if (path === undefined || pid === undefined) throw new Error("give a socket and a process");
  // Watched descriptors keep no process alive.
  setInterval(() => undefined, 1000);
  const shared = new MemfdSharedMemory();
  const { data, ...rings } = queuePlaces(ENTRIES);
  const file = shared.createFile("load", data + ENTRIES * BLOCK_BYTES);
  const memory = file.map(0, file.sizeBytes).memory.bytes;
  const kick = EventCounter.create();
  const call = EventCounter.create();
  const front = new FrontEnd(await shared.connect(path), () => {
    throw new Error("the connection has ended");
  });
  front.agree(bits(FEATURES), bits(PROTOCOL));
  const { sizeBytes } = await front.facts();
  front.share(file, ADDRESS);
  const queue = new DriverQueue(memory, ENTRIES, ADDRESS);
  await front.startRing({
    ...{ entryCount: ENTRIES, base: 0, kick, call },
    descriptors: ADDRESS + rings.descriptors,
    available: ADDRESS + rings.available,
    used: ADDRESS + rings.used,
  });
  const wanted = { sizeBytes, depth: Number(depth), isWrite: kind === "write" };
  const load = new Load({ queue, kick, call, memory }, wanted);
  console.log(JSON.stringify(load.run(Number(seconds), pid)));
  await front.stopRing();
  front.close();
  process.exit(0);
}

await main();
