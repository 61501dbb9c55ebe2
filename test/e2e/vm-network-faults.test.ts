/** Virtual machines whose host loses either network or both, and links that flap. */
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { etcdMissing } from "./etcd.ts";
import type { MachineCluster } from "./machine-cluster.ts";
import { namespacesMissing } from "./namespaces.ts";
import type { CableName } from "./namespaces.ts";
import { FaultedVms } from "./vm-faults.ts";
import type { VmFault } from "./vm-faults.ts";

const FLAPS = 8;
/** Shorter than what a lease lasts, and than the time after which a machine is sent away. */
const DOWN_MS = 600;
const UP_MS = 900;

function mend(cluster: MachineCluster, machine: number): Promise<void> {
  return cluster.machines.mend(machine);
}

const FAULTS: readonly VmFault[] = [
  {
    name: "its management network is cut",
    hurt: (cluster, machine) => cluster.machines.cut(machine, "management", "both"),
    mend,
  },
  {
    name: "storage is split into {it} and {the others}",
    hurt: (cluster, machine) => cluster.machines.cut(machine, "storage", "both"),
    mend,
  },
  {
    name: "both networks are cut",
    hurt: async (cluster, machine) => {
      await cluster.machines.cut(machine, "management", "both");
      await cluster.machines.cut(machine, "storage", "both");
    },
    mend,
  },
];

function flapping(cable: CableName): VmFault {
  return {
    name: `its ${cable} link flaps`,
    hurt: async (cluster, machine) => {
      for (let i = 0; i < FLAPS; i++) {
        await cluster.machines.cut(machine, cable, "both");
        await pause(DOWN_MS);
        await cluster.machines.mend(machine);
        await pause(UP_MS);
      }
    },
    mend,
  };
}

test(
  "machines outlive the loss of either network and of both with whole file systems, and links that flap",
  { skip: namespacesMissing() ?? etcdMissing() ?? false },
  async (t) => {
    const vms = await FaultedVms.create(t);
    for (const fault of FAULTS) await vms.outlive(fault);
    for (const cable of ["management", "storage"] as const) await vms.endure(flapping(cable));
    await vms.finish();
  },
);
