/** A volume in memory at a socket of its own, served over vhost-user within the test's process. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { SectionCache, VhostUserServer } from "../../src/frontend/index.ts";
import { MemfdSharedMemory, NodeClock } from "../../src/platform/index.ts";
import { MemoryVolume } from "../nbd/memory-volume.ts";

const SECTION_BYTES = 2 << 20;

export class QuietServer {
  readonly path: string;
  readonly volume: MemoryVolume;
  readonly sections: SectionCache = new SectionCache({
    sectionBytes: SECTION_BYTES,
    sectionsMax: 64,
  });
  readonly violations: string[] = [];
  #server: VhostUserServer | undefined;

  private constructor(socket: string, sizeBytes: number) {
    this.path = socket;
    this.volume = new MemoryVolume({ sizeBytes, completions: "after-submit" });
  }

  static async start(t: TestContext, sizeBytes: number): Promise<QuietServer> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "drystone-vhost-"));
    const server = new QuietServer(path.join(folder, "socket"), sizeBytes);
    await server.listen();
    t.after(async () => {
      await server.stop();
      fs.rmSync(folder, { recursive: true });
    });
    return server;
  }

  get server(): VhostUserServer {
    if (this.#server === undefined) throw new Error("nothing listens");
    return this.#server;
  }

  async listen(): Promise<void> {
    const ports = {
      shared: new MemfdSharedMemory(),
      clock: new NodeClock(),
      log: { write: () => undefined },
    };
    this.#server = await VhostUserServer.listen(ports, this.volume, {
      path: this.path,
      queueCount: 2,
      sections: this.sections,
      onViolation: (reason) => this.violations.push(reason),
    });
  }

  async stop(): Promise<void> {
    await this.#server?.close(1000);
    this.#server = undefined;
  }
}
