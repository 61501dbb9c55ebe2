/**
 * Serves a volume in memory to a vhost-user front end until its standard input ends:
 *
 *   node dist/test/vhost-user/serve-memory.js SOCKET SIZE [QUEUES]
 *
 * For measuring and trying the front end apart from everything behind it.
 */
import { SectionCache, VhostUserServer } from "../../src/frontend/index.ts";
import { JsonLog, MemfdSharedMemory, NodeClock } from "../../src/platform/index.ts";
import { MemoryVolume } from "../nbd/memory-volume.ts";

const [path, size = "268435456", queues = "1"] = process.argv.slice(2);
if (path === undefined) throw new Error("give the path of a socket");
const clock = new NodeClock();
const log = new JsonLog();
const volume = new MemoryVolume({ sizeBytes: Number(size), completions: "after-submit" });
const server = await VhostUserServer.listen(
  { shared: new MemfdSharedMemory(), clock, log },
  volume,
  {
    path,
    queueCount: Number(queues),
    sections: new SectionCache({ sectionBytes: 2 << 20, sectionsMax: 4096 }),
  },
);
process.stdout.write("ready\n");
process.stdin.resume();
process.stdin.once("end", () => {
  void server.close(1000).then(() => process.exit(0));
});
