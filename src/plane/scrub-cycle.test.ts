/** What is promised of looking for damage, for hosts that do not run all the time. */
import assert from "node:assert/strict";
import { EmbeddedDirectory, mirror, component } from "../cluster/index.ts";
import type { ClusterSettings, ObjectRecord } from "../cluster/index.ts";
import { MetadataMedium, SimLog, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { READ_THROUGH_BLOCKS } from "../store/index.ts";
import type { ReadThroughPart } from "../store/index.ts";
import type { ResyncPace } from "../object/index.ts";
import { CLUSTER, hostIdOf } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { RepairView } from "./repair-board.ts";
import { ScrubDuty } from "./scrub-duty.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** So many that an hour's part is several reads. */
const BLOCKS = 336 * 16 * READ_THROUGH_BLOCKS;
const VOLUMES = 60;
const SETTINGS: ClusterSettings = {
  repairDelayMs: HOUR_MS,
  rebuildsAtOnce: 4,
  rebuildsPerDevice: 2,
  offersFingerprints: true,
  scrubDays: 14,
  compareHours: 24,
};

/** A device's contents in the order in which they are read; what a host's end leaves of it. */
class Contents {
  next = 0;
  readUntilMs: number | undefined;
  readonly readMs: number[] = [];
  readonly #nowMs: () => number;
  /** How long it takes to read a few. */
  partMs = 1000;
  readonly #pass: (ms: number) => Promise<void>;
  readonly blockCount: number = BLOCKS;
  readonly knownDamaged: number = 0;
  readonly hurtCount: number = 0;

  constructor(nowMs: () => number, pass: (ms: number) => Promise<void>) {
    this.#nowMs = nowMs;
    this.#pass = pass;
  }

  async read(): Promise<ReadThroughPart> {
    await this.#pass(this.partMs);
    this.readMs.push(this.#nowMs());
    this.next = (this.next + READ_THROUGH_BLOCKS) % BLOCKS;
    return { blocksRead: READ_THROUGH_BLOCKS, damagedBlocks: 0, isAtEnd: this.next === 0 };
  }

  save(readUntilMs: number): Promise<void> {
    this.readUntilMs = readUntilMs;
    return Promise.resolve();
  }

  damagedPlaces(): Promise<readonly never[]> {
    return Promise.resolve([]);
  }

  areMended(): Promise<boolean> {
    return Promise.resolve(true);
  }

  /** How often each was read in the `ms` before `atMs`, on the average. */
  timesReadIn(ms: number, atMs: number): number {
    const parts = this.readMs.filter((readMs) => readMs >= atMs - ms && readMs < atMs);
    return (parts.length * READ_THROUGH_BLOCKS) / BLOCKS;
  }

  /** The most that is read within any hour, as a share of all. */
  mostInAnHour(): number {
    return Math.max(...this.readMs.map((readMs) => this.timesReadIn(HOUR_MS, readMs + HOUR_MS)));
  }
}

/** One host of volumes that it owns, with one device, which is up for parts of the time. */
class Bench {
  readonly simulation: Simulation = new Simulation({ seed: 1 });
  readonly #machine: SimMachine = new SimMachine(this.simulation);
  readonly contents: Contents = new Contents(
    () => this.simulation.nowMs,
    (ms) => this.pass(ms),
  );
  pace: ResyncPace | undefined;
  readonly volumes: ObjectRecord[] = Array.from({ length: VOLUMES }, (_none, i) => volumeOf(i));
  /** By object, when its copies were compared. */
  readonly comparedMs: Map<string, number[]> = new Map();
  #duty: ScrubDuty | undefined;
  #directory: EmbeddedDirectory | undefined;

  async run(work: () => Promise<void>): Promise<void> {
    await this.simulation.run(async () => {
      const store = new SimMetadataStore(this.#machine, new MetadataMedium());
      this.#directory = await EmbeddedDirectory.open(store, this.#machine.clock);
      await work();
    });
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.#machine.clock.after(ms, resolve));
  }

  /** Runs the host for so long, and leaves it down for so long. */
  async day(upMs: number, downMs: number): Promise<void> {
    this.#duty = this.#newDuty();
    this.#duty.start();
    await this.pass(upMs);
    await this.#duty.close();
    await this.pass(downMs);
  }

  #newDuty(): ScrubDuty {
    const known = {
      settings: SETTINGS,
      devices: [],
      services: [],
      hosts: [],
      stored: new Map<string, number>(),
    };
    const { clock } = this.#machine;
    return new ScrubDuty({
      clock,
      log: new SimLog(clock),
      directory: this.#directory!,
      clusterId: CLUSTER,
      hostId: hostIdOf("a"),
      links: { handle: () => {}, call: () => assert.fail("nobody is asked") },
      board: {
        view: () => Promise.resolve(new RepairView(known, new Set(), new Map())),
        volumes: () => Promise.resolve(this.volumes),
      },
      pace: this.pace,
      deviceIds: () => ["d1"],
      readThrough: () => this.contents,
      owned: () => this.volumes.map(({ objectId }) => this.#ownedOf(objectId)),
      ownerWorld: () => assert.fail("nothing is taken"),
      isLeaseAlive: () => true,
      addEvent: () => {},
    });
  }

  #ownedOf(objectId: string) {
    return {
      objectId,
      compareCopies: async () => {
        await this.pass(10);
        const before = this.comparedMs.get(objectId) ?? [];
        this.comparedMs.set(objectId, [...before, this.simulation.nowMs]);
        return { regionsCompared: 1, regionsDiffered: 0 };
      },
      repairComponent: () => Promise.resolve(false),
    };
  }
}

function volumeOf(index: number): ObjectRecord {
  const id = (index * 1091).toString(16).padStart(4, "0").repeat(8);
  return {
    objectId: id,
    name: `v${index}`,
    sizeBytes: 2 ** 30,
    policy: { failuresToTolerate: 1, stripes: 1 },
    epoch: 1,
    owner: hostIdOf("a"),
    tree: mirror([component(`${id.slice(1)}1`), component(`${id.slice(1)}2`)]),
    components: [],
  };
}

for (const [what, upMs, downMs] of [
  ["runs all the time", DAY_MS, 0],
  ["is down for six hours a day", 18 * HOUR_MS, 6 * HOUR_MS],
  ["is started anew each hour", HOUR_MS, 10_000],
] as const)
  test(`a host that ${what} reads everything within 14 days, and never in a rush`, async () => {
    const bench = new Bench();
    await bench.run(async () => {
      const { simulation, contents } = bench;
      while (simulation.nowMs < 30 * DAY_MS) await bench.day(upMs, downMs);
      const times = contents.timesReadIn(14 * DAY_MS, simulation.nowMs);
      assert.ok(times > 0.99 && times < 1.1, `${times} times within 14 days`);
      const most = contents.mostInAnHour() * 336;
      assert.ok(most <= 3.2, `${most} times an hour's part in an hour`);
    });
  });

test("a slow pace gives turns for all that is read", async () => {
  const bench = new Bench();
  let turned = 0;
  bench.pace = {
    turn: (blocks) => {
      const given = Math.min(64, blocks);
      turned += given;
      return Promise.resolve(given);
    },
  };
  await bench.run(async () => {
    await bench.day(DAY_MS, 0);
    const parts = bench.contents.readMs.length;
    assert.ok(parts > 100, `${parts} parts`);
    assert.equal(turned, parts * READ_THROUGH_BLOCKS);
  });
});

test("rounds that last longer than half an hour do not put the end off", async () => {
  const bench = new Bench();
  await bench.run(async () => {
    const { simulation, contents } = bench;
    contents.partMs = (0.7 * HOUR_MS) / 16;
    await bench.day(20 * DAY_MS, 0);
    const times = contents.timesReadIn(14 * DAY_MS, simulation.nowMs);
    assert.ok(times > 0.99 && times < 1.1, `${times} times within 14 days`);
  });
});

test("a clock that jumps neither stops the reading nor has all of it read at once", async () => {
  const bench = new Bench();
  await bench.run(async () => {
    const { contents, simulation } = bench;
    await bench.day(DAY_MS, 0);
    for (const offMs of [1000 * DAY_MS, -1000 * DAY_MS]) {
      contents.readUntilMs = contents.readUntilMs! + offMs;
      const sinceMs = simulation.nowMs;
      await bench.day(DAY_MS, 0);
      const part = contents.timesReadIn(simulation.nowMs - sinceMs, simulation.nowMs) * 336;
      assert.ok(part > 22 && part < 73, `${part} hours' parts in a day`);
    }
  });
});

test("copies are compared daily on a host that is started anew each day, not all at once", async () => {
  const bench = new Bench();
  await bench.run(async () => {
    const { simulation, comparedMs } = bench;
    for (let days = 1; days <= 5; days++) {
      const fromMs = simulation.nowMs;
      await bench.day(DAY_MS - 600_000, 600_000);
      const perHour = new Map<number, number>();
      for (const { objectId } of bench.volumes) {
        const all = (comparedMs.get(objectId) ?? []).filter((ms) => ms >= fromMs);
        assert.equal(all.length, 1, `on day ${days}`);
        assert.ok(all[0]! >= fromMs + HOUR_MS, "not while the host has just started");
        const hour = Math.floor((all[0]! - fromMs) / HOUR_MS);
        perHour.set(hour, (perHour.get(hour) ?? 0) + 1);
      }
      assert.ok(Math.max(...perHour.values()) <= VOLUMES / 2, `${[...perHour.values()]}`);
    }
  });
});

test("copies are compared every 24 hours, and those of a new volume a day after", async () => {
  const bench = new Bench();
  await bench.run(async () => {
    const made = bench.volumes.pop()!;
    const running = bench.day(10 * DAY_MS, 0);
    await bench.pass(DAY_MS);
    bench.volumes.push(made);
    const madeMs = bench.simulation.nowMs;
    await running;
    const afterMs = bench.comparedMs.get(made.objectId)![0]! - madeMs;
    assert.ok(
      afterMs > 22 * HOUR_MS && afterMs <= DAY_MS + HOUR_MS,
      `${afterMs} ms after it was made`,
    );
    for (const [objectId, all] of bench.comparedMs)
      for (const [i, ms] of all.slice(1).entries())
        assert.ok(ms - all[i]! <= DAY_MS + 1000, `${objectId} after ${ms - all[i]!} ms`);
  });
});
