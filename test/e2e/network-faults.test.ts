/**
 * Three machines as network namespaces with a management and a storage network, an etcd member and
 * a host on each, and a client machine whose load checks what it reads, while hosts are killed or
 * stand still and cables lose packets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { etcdMissing } from "./etcd.ts";
import { isLong } from "./harness.ts";
import { MachineCluster } from "./machine-cluster.ts";
import { namespacesMissing } from "./namespaces.ts";
import type { CableName, Direction } from "./namespaces.ts";
import { PacedLoad } from "./paced-load.ts";

const LANES = 6;
const KILL_STALL_MS_MAX = 2000;
const CABLE_STALL_MS_MAX = 3000;
/** Until the lease of a host that says nothing has ended, and another one has taken over. */
const LEASE_STALL_MS_MAX = 15_000;
const ROUNDS = isLong ? 10 : 1;
/** Loaded machines take their time; the figures count where nothing else runs. */
const SLACK = isLong ? 1 : 4;

interface Round {
  readonly name: string;
  readonly limitMs: number;
  readonly whom: "server" | "other copy";
  /** What another host makes of it. */
  readonly seenAs: string;
  /** In the long version only. */
  readonly isLong?: boolean;
  readonly hurt: (cluster: MachineCluster, machine: number) => Promise<void>;
  readonly mend: (cluster: MachineCluster, machine: number) => Promise<void>;
}

function cable(name: string, which: CableName, direction: Direction, limitMs: number): Round {
  return {
    name,
    limitMs,
    whom: "server",
    seenAs: `${which}-unreachable`,
    hurt: (cluster, machine) => cluster.machines.cut(machine, which, direction),
    mend: (cluster, machine) => cluster.machines.mend(machine),
  };
}

const rounds: readonly Round[] = [
  {
    name: "the serving host is killed",
    limitMs: KILL_STALL_MS_MAX,
    whom: "server",
    seenAs: "down",
    hurt: (cluster, machine) => cluster.killHost(machine),
    mend: (cluster, machine) => cluster.startHost(machine),
  },
  cable("the serving host's storage cable is pulled", "storage", "both", CABLE_STALL_MS_MAX),
  {
    ...cable("another copy's storage cable is pulled", "storage", "both", CABLE_STALL_MS_MAX),
    whom: "other copy",
    isLong: true,
  },
  {
    ...cable("the serving host hears nothing on storage", "storage", "in", LEASE_STALL_MS_MAX),
    isLong: true,
  },
  cable("the serving host is not heard on storage", "storage", "out", LEASE_STALL_MS_MAX),
  cable("the serving host's management cable is pulled", "management", "both", LEASE_STALL_MS_MAX),
  {
    name: "the serving host stands still",
    limitMs: LEASE_STALL_MS_MAX,
    whom: "server",
    seenAs: "down",
    hurt: async (cluster, machine) => cluster.signalHost(machine, "SIGSTOP"),
    mend: async (cluster, machine) => cluster.signalHost(machine, "SIGCONT"),
  },
];

async function run(cluster: MachineCluster, load: PacedLoad, round: Round): Promise<number> {
  await cluster.settled(load);
  const server = await cluster.serving();
  const machine = round.whom === "server" ? server : await cluster.otherCopy(server);
  await round.hurt(cluster, machine);
  // The requests that were under way are answered, and new ones, too.
  await cluster.answering(load, machine);
  const stallMs = load.takeStallMs();
  await cluster.untilSeen(machine, round.seenAs);
  await round.mend(cluster, machine);
  await cluster.untilWhole();
  return stallMs;
}

test(
  "no error and no wrong byte whatever breaks, and copies are equal in the end",
  { skip: namespacesMissing() ?? etcdMissing() ?? false },
  async (t) => {
    const cluster = await MachineCluster.create(t);
    const load = await PacedLoad.start(cluster.demo, LANES);
    for (const round of rounds.filter((one) => isLong || one.isLong !== true)) {
      const stalls: number[] = [];
      for (let count = 0; count < ROUNDS; count++) stalls.push(await run(cluster, load, round));
      stalls.sort((a, b) => a - b);
      const text = stalls.map((ms) => Math.round(ms)).join(", ");
      t.diagnostic(`${round.name}: stalls of ${text} ms`);
      const worst = stalls.at(-1) ?? 0;
      assert.ok(worst <= SLACK * round.limitMs, `${round.name}: a stall of ${worst} ms`);
    }
    await load.stop();
    await load.verify(cluster.demo);
    // Each copy alone holds it all.
    for (const machine of await cluster.copies()) {
      await cluster.killHost(machine);
      await load.verify(cluster.demo);
      await cluster.startHost(machine);
      await cluster.untilWhole();
    }
  },
);
