/**
 * Serves a volume of which all is in memory over vhost-user, with sections of a size of one's
 * choice, until its standard input ends:
 *
 *   node dist/bench/section-server.js SOCKET VOLUME-BYTES SECTION-BYTES SECTIONS
 *
 * Then it prints what the cache of mappings has counted. What is measured with it is the front end
 * and nothing behind it.
 */
import { SectionCache, VhostUserServer } from "../src/frontend/index.ts";
import { MemfdSharedMemory, NodeClock } from "../src/platform/index.ts";
import { MemoryVolume } from "../test/nbd/memory-volume.ts";

const [path, ...numbers] = process.argv.slice(2);
const [sizeBytes, sectionBytes, sectionsMax] = numbers.map(Number);
if (path === undefined || !sizeBytes || !sectionBytes || !sectionsMax)
  throw new Error("give a socket, the volume's bytes, the bytes of a section and their number");
const volume = new MemoryVolume({ sizeBytes, completions: "after-submit" });
volume.isCached = () => true;
const sections = new SectionCache({ sectionBytes, sectionsMax });
const log = { write: () => undefined };
const ports = { shared: new MemfdSharedMemory(), clock: new NodeClock(), log };
const server = await VhostUserServer.listen(ports, volume, { path, queueCount: 1, sections });
process.stdout.write("ready\n");
process.stdin.resume();
process.stdin.once("end", () => {
  void server.close(1000).then(() => {
    process.stdout.write(`${JSON.stringify(sections.stats)}\n`);
    process.exit(0);
  });
});
