/** Virtual machines while the directory loses its members one after another. */
import { test } from "node:test";
import { etcdMissing } from "./etcd.ts";
import { namespacesMissing } from "./namespaces.ts";
import { FaultedVms } from "./vm-faults.ts";

test(
  "machines stay where they are and count on while each etcd member in turn is dead",
  { skip: namespacesMissing() ?? etcdMissing() ?? false },
  async (t) => {
    const vms = await FaultedVms.create(t);
    for (const member of vms.cluster.numbers)
      await vms.notice({
        name: `the etcd member of h${member} is killed`,
        hurt: (cluster) => cluster.killEtcd(member),
        mend: (cluster) => cluster.startEtcd(member),
      });
    await vms.finish();
  },
);
