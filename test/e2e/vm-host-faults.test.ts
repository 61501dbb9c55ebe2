/** Virtual machines whose host dies, with them or without, or stands still. */
import { test } from "node:test";
import { etcdMissing } from "./etcd.ts";
import { namespacesMissing } from "./namespaces.ts";
import { FaultedVms } from "./vm-faults.ts";
import type { VmFault } from "./vm-faults.ts";

const FAULTS: readonly VmFault[] = [
  {
    name: "the power of the host is cut",
    hurt: async (cluster, machine) => {
      await cluster.cutPower(machine);
      await cluster.killEtcd(machine);
    },
    mend: async (cluster, machine) => {
      await cluster.startEtcd(machine);
      await cluster.startHost(machine);
    },
  },
  {
    name: "SIGKILL of the host's process group",
    isStopped: true,
    hurt: (cluster, machine) => cluster.killHost(machine),
    mend: (cluster, machine) => cluster.startHost(machine),
  },
  {
    name: "SIGSTOP of the host",
    isStopped: true,
    hurt: async (cluster, machine) => cluster.signalHost(machine, "SIGSTOP"),
    mend: async (cluster, machine) => cluster.signalHost(machine, "SIGCONT"),
  },
];

test(
  "machines outlive a host that dies or stands still, with whole file systems",
  { skip: namespacesMissing() ?? etcdMissing() ?? false },
  async (t) => {
    const vms = await FaultedVms.create(t);
    for (const fault of FAULTS) await vms.outlive(fault);
    await vms.finish();
  },
);
