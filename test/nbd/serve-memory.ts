/**
 * Serves volumes in memory over NBD: `node serve-memory.js SOCKET SIZE-BYTES`. For measurements by
 * hand.
 */
import { NbdServer, SingleExport } from "../../src/frontend/index.ts";
import { quietPorts } from "./quiet-ports.ts";
import { MemoryVolume } from "./memory-volume.ts";

const [socket = "/dev/shm/nbd-memory.sock", sizeBytes = "1073741824"] = process.argv.slice(2);
const volume = new MemoryVolume({ sizeBytes: Number(sizeBytes), completions: "after-submit" });
const server = await NbdServer.listen(quietPorts(), new SingleExport(volume, "in memory"), {
  address: { kind: "unix", path: socket },
});
process.once("SIGTERM", () => void server.close(1000));
