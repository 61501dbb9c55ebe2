/** The directory on etcd keeps what the port promises, over a real etcd. */
import { after, before, test } from "node:test";
import { EtcdDirectory, NodeClock } from "../../src/platform/index.ts";
import { directoryConformance } from "../conformance/directory.ts";
import { EtcdCluster, etcdMissing } from "./etcd.ts";

const missing = etcdMissing();
if (missing === undefined) suite();
else test("EtcdDirectory keeps what the port promises", { skip: missing }, () => undefined);

function suite(): void {
  let cluster: EtcdCluster;
  before(async () => void (cluster = await EtcdCluster.start()));
  after(async () => await cluster.dispose());

  directoryConformance("EtcdDirectory", async () => {
    await cluster.post("kv/deleterange", { key: "AA==", range_end: "AA==" });
    const opened: EtcdDirectory[] = [];
    const open = async (): Promise<EtcdDirectory> => {
      const directory = new EtcdDirectory({ endpoints: cluster.endpoints });
      opened.push(directory);
      return directory;
    };
    // Timers of the clock let the process end, so something else has to keep a test alive.
    const keeper = setInterval(() => {}, 60_000);
    return {
      directory: await open(),
      clock: new NodeClock(),
      reopen: open,
      run: (work) => work(),
      dispose: async () => {
        clearInterval(keeper);
        for (const directory of opened) await directory.close();
      },
    };
  });
}
