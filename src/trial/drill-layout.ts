/**
 * What a cluster in a drill looks like at its beginning: an example, or what was copied from a
 * cluster that runs. Volumes are as they are spread there; they are small, so that what is copied
 * takes little time.
 */
import { assertDefined, BLOCK_SIZE_BYTES, REGION_BLOCKS } from "../base/index.ts";
import { component, mirror, stripe, STRIPE_UNIT_BLOCKS, witness } from "../cluster/index.ts";
import type { LegNode, TreeNode } from "../cluster/index.ts";
import { idOf } from "./names.ts";
import type { TrialPlan, VolumePlan } from "./trial-plan.ts";

const VOLUME_BLOCKS = 2 * REGION_BLOCKS;
const GIB = 2 ** 30;
const REPAIR_DELAY_MS = 20_000;

export interface DrillLayout {
  readonly hosts: readonly DrillHostLayout[];
  readonly volumes: readonly DrillVolume[];
  readonly machines: readonly DrillMachine[];
}

export interface DrillHostLayout {
  readonly name: string;
  readonly faultDomain: string;
  /** For machines. */
  readonly memoryBytes: number;
  readonly cpuCount: number;
}

export interface DrillVolume {
  readonly name: string;
  readonly failuresToTolerate: number;
  readonly tree: DrillTree;
}

/** Hosts by their numbers, from 0 on. */
export interface DrillTree {
  readonly kind: "component" | "witness" | "stripe" | "mirror";
  readonly host?: number;
  readonly children?: readonly DrillTree[];
}

export interface DrillMachine {
  readonly name: string;
  readonly volumes: readonly string[];
  readonly memoryBytes: number;
  readonly cpuCount: number;
  /** 0 is started first, 4 last. */
  readonly priority: number;
  readonly antiAffinity?: string;
  readonly isProtected: boolean;
  /** Where it runs at the beginning; undefined: wherever it is put. */
  readonly host?: number;
}

/** Mirrors with a witness, dealt out in turn; machines on the hosts of their first copies. */
export function exampleLayout(hostCount: number, machineCount: number): DrillLayout {
  const host = (number: number): number => number % hostCount;
  const leaf = (kind: "component" | "witness", number: number): DrillTree => {
    return { kind, host: host(number) };
  };
  const names = Array.from({ length: machineCount }, (_, i) => `vm${i + 1}`);
  return {
    hosts: Array.from({ length: hostCount }, (_, i) => {
      const name = `h${i + 1}`;
      return { name, faultDomain: name, memoryBytes: 64 * GIB, cpuCount: 32 };
    }),
    volumes: names.map((name, i) => ({
      name,
      failuresToTolerate: 1,
      tree: {
        kind: "mirror",
        children: [leaf("component", i), leaf("component", i + 1), leaf("witness", i + 2)],
      },
    })),
    machines: names.map((name, i) => ({
      name,
      volumes: [name],
      memoryBytes: (2 + (i % 3)) * GIB,
      cpuCount: 2,
      priority: i % 5,
      isProtected: true,
      host: host(i),
    })),
  };
}

export function drillPlan({ hosts, volumes }: DrillLayout): TrialPlan {
  return {
    hostCount: hosts.length,
    hostNames: hosts.map(({ name }) => name),
    faultDomains: hosts.map(({ faultDomain }) => faultDomain),
    volumes: volumes.map(planOf),
    faults: { kinds: [], everyMs: 1, durationMs: 0, sickHost: undefined },
    network: { minMs: 0.05, maxMs: 0.5 },
    clockRates: hosts.map(() => 1),
    buggify: false,
    changesMax: 8192,
    lateForksMsMax: 0,
    repairs: { repairDelayMs: REPAIR_DELAY_MS, rebuildsAtOnce: 4 },
    operator: undefined,
    lateChangesMsMax: 0,
    lateCopiesMsMax: 0,
    scrubTimesSooner: undefined,
    compareHours: 24,
    olderHost: undefined,
  };
}

function planOf(volume: DrillVolume, number: number): VolumePlan {
  const placement: { componentId: string; host: number }[] = [];
  const place = ({ host }: DrillTree): string => {
    const componentId = idOf(`c${number.toString(16).padStart(3, "0")}`, placement.length);
    placement.push({ componentId, host: assertDefined(host, "it is on a host") });
    return componentId;
  };
  return {
    name: volume.name,
    objectId: idOf("0b", number),
    sizeBytes: VOLUME_BLOCKS * BLOCK_SIZE_BYTES,
    tree: treeOf(volume.tree, place),
    placement,
    failuresToTolerate: volume.failuresToTolerate,
    workload: {
      ...{ clientCount: 0, patientShare: 1, hotBlocks: [], readShare: 0, zeroShare: 0 },
      ...{ partialShare: 0, commonShare: 0, blocksMax: 1, thinkMsMax: 1 },
    },
  };
}

function treeOf(tree: DrillTree, place: (leaf: DrillTree) => string): TreeNode {
  if (tree.kind !== "mirror") return legOf(tree, place);
  return mirror(
    (tree.children ?? []).map((child) =>
      child.kind === "witness" ? witness(place(child)) : legOf(child, place),
    ),
  );
}

function legOf(tree: DrillTree, place: (leaf: DrillTree) => string): LegNode {
  if (tree.kind !== "stripe") return component(place(tree));
  const children = (tree.children ?? []).map((child, i) =>
    component(place(child), i === 0 ? 1 : 0),
  );
  return stripe(children, STRIPE_UNIT_BLOCKS);
}
