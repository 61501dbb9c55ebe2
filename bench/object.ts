/**
 * What the owner of an object costs: CPU time per request of its data path, over a component that
 * does nothing but answer. Everything below (journal, checksums, disk) and above (NBD, sockets)
 * comes on top.
 */
import { component } from "../src/cluster/index.ts";
import { Leg, LegMember, Legs } from "../src/object/legs.ts";
import { ObjectLayout } from "../src/object/object-layout.ts";
import { ObjectVolume } from "../src/object/object-volume.ts";
import type { DiskMemory } from "../src/ports/index.ts";
import type {
  BlockRun,
  ComponentDone,
  ComponentIo,
  ComponentOpening,
  Transaction,
} from "../src/store/index.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, Figure } from "./benchmark.ts";

const SIZE_BYTES = 2 ** 32;
const PENDING_MAX = 4096;

/** Accepts everything and answers when told to. */
class IdleComponent implements ComponentIo {
  readonly componentId = "a";
  readonly blockCount: number = SIZE_BYTES / 4096;
  readonly #tokens = new Int32Array(PENDING_MAX);
  readonly #dones: ComponentDone[] = [];
  #count = 0;

  async open(epoch: number): Promise<ComponentOpening> {
    return { epoch, isComplete: true, committedSequence: 0, preparedSequence: 0 };
  }

  prepare(_transaction: Transaction, done: ComponentDone, token: number): boolean {
    this.#wait(done, token);
    return true;
  }

  read(...args: Parameters<ComponentIo["read"]>): void {
    this.#wait(args[4], args[5]);
  }

  commit(): void {}
  async extents(): Promise<readonly BlockRun[]> {
    return [];
  }
  onRoom(): void {}
  submit(): void {}

  /** Answers what was called, and what that leads to. */
  answer(): void {
    while (this.#count > 0) {
      const count = this.#count;
      this.#count = 0;
      for (let i = 0; i < count; i++) this.#dones[i]!(this.#tokens[i]!, undefined);
    }
  }

  #wait(done: ComponentDone, token: number): void {
    this.#dones[this.#count] = done;
    this.#tokens[this.#count++] = token;
  }
}

interface Target {
  readonly volume: ObjectVolume;
  readonly component: IdleComponent;
  readonly memory: DiskMemory;
  readonly done: () => void;
}

const workloads: Readonly<Record<string, (target: Target, place: number) => void>> = {
  "write-4k": ({ volume, memory, done }, place) =>
    volume.write(memory.bytes, 0, 4096, place * 4096, done, 0),
  "read-4k": ({ volume, memory, done }, place) =>
    volume.read(memory, 0, 4096, place * 4096, done, 0),
  "write-512": ({ volume, memory, done }, place) =>
    volume.write(memory.bytes, 0, 512, place * 4096 + 512, done, 0),
  "read-512": ({ volume, memory, done }, place) =>
    volume.read(memory, 0, 512, place * 4096 + 512, done, 0),
  discard: ({ volume, done }, place) => volume.discard(place * 4096, 4096, done, 0),
};

function makeTarget(): Target {
  const idle = new IdleComponent();
  const { legs } = new ObjectLayout(component("a"));
  const volume = new ObjectVolume({
    name: "bench",
    sizeBytes: SIZE_BYTES,
    readOnly: false,
    epoch: 1,
    lastSequence: 0,
    legs: new Legs(legs.map((leg) => new Leg(leg, [new LegMember("a", idle, "active")]))),
    allocate: (lengthBytes) => ({
      bytes: new Uint8Array(lengthBytes),
      handle: { address: 0, lengthBytes },
    }),
    nowMs: () => performance.now(),
    isLeaseAlive: () => true,
    onMemberFailed: (member) => {
      throw new Error(member.componentId);
    },
    onDamage: () => {},
    onStopped: (_fault, reason) => {
      throw new Error(reason);
    },
  });
  return { volume, component: idle, memory: volume.allocate(1 << 20), done: () => {} };
}

/** Microseconds of CPU per request. */
function measure(
  target: Target,
  start: (target: Target, place: number) => void,
  run: { readonly depth: number; readonly seconds: number },
): number {
  const end = performance.now() + run.seconds * 1000;
  const before = process.cpuUsage();
  let random = 12345;
  let count = 0;
  do {
    for (let batch = 0; batch < 100; batch++) {
      for (let i = 0; i < run.depth; i++) {
        random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
        start(target, random >>> 12);
      }
      target.volume.submit();
      target.component.answer();
      count += run.depth;
    }
  } while (performance.now() < end);
  const used = process.cpuUsage(before);
  return (used.user + used.system) / count;
}

export const objectBenchmark: Benchmark = {
  name: "object",
  summary: "CPU time per request in the data path of an object's owner",
  defaults: { rounds: 5, seconds: 0.2, folder: "" },
  async run(options) {
    const figures: Figure[] = [];
    for (const [workload, start] of Object.entries(workloads)) {
      if (!isWanted(workload, options.workloads)) continue;
      for (const depth of [1, 32, 256]) {
        const target = makeTarget();
        measure(target, start, { depth, seconds: options.seconds });
        const values = Array.from({ length: options.rounds }, () =>
          measure(target, start, { depth, seconds: options.seconds }),
        );
        const name = { workload, target: `depth ${depth}`, metric: "cpuMicroseconds" };
        figures.push(figure(name, values));
      }
      options.progress(workload);
    }
    return { figures, notes: ["The component below answers at once and does nothing else."] };
  },
};
