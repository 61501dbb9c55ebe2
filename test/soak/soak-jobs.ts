/**
 * What operators do meanwhile: snapshots that must hold what the volume held, clones, exports and
 * imports of them, changes of policy, scrubs. A job may be refused while something is broken, and
 * is tried again; it must have worked some time after everything was mended.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Prng } from "../../src/base/index.ts";
import { ApiRefusal } from "../../src/host/api/api-routes.ts";
import type { OperationName, RequestOf } from "../../src/host/index.ts";
import { runTool } from "../e2e/process.ts";
import type { NbdAddress } from "../e2e/nbd-client.ts";
import { VerifiedLoad, verifyVolume } from "../e2e/verified-load.ts";
import type { WriteLedger } from "../e2e/write-ledger.ts";
import type { SoakLoad } from "./soak-load.ts";
import type { Job } from "./soak-plan.ts";
import type { SoakWorld } from "./soak-world.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
/** What is wanted of a deletion or a detachment is so already. */
const GONE = /^volume-not-(found|attached)$/;
const SNAPSHOTS_MAX = 3;
const TRY_MS_MAX = 240_000;
const AGAIN_MS = 500;
const TOOL_MS_MAX = 180_000;
/** Requests that change a clone. */
const CLONE_CHANGES = 100;

interface Snapshot {
  readonly name: string;
  readonly ledger: WriteLedger;
}

export interface JobsOptions {
  readonly world: SoakWorld;
  readonly load: SoakLoad;
  readonly ledger: WriteLedger;
  readonly folder: string;
  readonly prng: Prng;
  readonly found: (what: string) => void;
}

export class SoakJobs {
  readonly #options: JobsOptions;
  #snapshots: Snapshot[] = [];
  readonly #unsure = new Set<string>();
  #made = 0;
  /** Refusals that a later try made good, by code. */
  readonly refusals: Map<string, number> = new Map();

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  async run(job: Job): Promise<void> {
    switch (job) {
      case "none":
        return;
      case "snapshot":
        await this.#takeSnapshot();
        if (this.#snapshots.length > SNAPSHOTS_MAX) await this.#checkAndDelete();
        return;
      case "clone":
        return await this.#cloneAndChange();
      case "export":
        return await this.#exportAndImport();
      case "policy":
        return await this.#changePolicy();
      case "scrub":
        return await this.#scrub();
    }
  }

  /** Looks through all that were kept, and deletes them. */
  async finish(): Promise<void> {
    while (this.#snapshots.length > 0) await this.#checkAndDelete();
    for (const name of this.#unsure) await this.#deleteSnapshot(name);
    this.#unsure.clear();
  }

  /**
   * While nobody writes, so that it is known what it holds. Of a try without an answer nobody knows
   * when it was taken: it is deleted later, and another one tried.
   */
  async #takeSnapshot(): Promise<Snapshot> {
    const { load, ledger } = this.#options;
    return await this.#persist("snapshot", async () => {
      const name = `demo@s${++this.#made}`;
      this.#unsure.add(name);
      const copy = await load.quietly(async () => {
        await this.#asked("snapshot.create", { name });
        return ledger.copy();
      });
      this.#unsure.delete(name);
      const snapshot = { name, ledger: copy };
      this.#snapshots.push(snapshot);
      return snapshot;
    });
  }

  async #checkAndDelete(): Promise<void> {
    const snapshot = this.#snapshots.shift();
    if (snapshot === undefined) return;
    const { name, ledger } = snapshot;
    await this.#check(name, ledger);
    await this.#deleteSnapshot(name);
  }

  async #deleteSnapshot(name: string): Promise<void> {
    const remove = () => this.#asked("snapshot.delete", { name });
    await this.#persist(`deletion of ${name}`, remove, GONE);
  }

  /** Attached for it, on a host that is well. */
  async #check(
    name: string,
    ledger: WriteLedger,
    change?: (at: NbdAddress) => Promise<void>,
  ): Promise<void> {
    const { world, folder, found } = this.#options;
    const socket = path.join(folder, `check${++this.#made}.sock`);
    await this.#persist(`check of ${name}`, async () => {
      const host = world.wellHost();
      await world.call(host, "volume.attach", { name, nbd: socket, readOnly: name.includes("@") });
      try {
        const at = { socket, exportName: name };
        await change?.(at);
        const wrong = await verifyVolume(at, ledger);
        for (const one of wrong) found(`${name}: ${one}`);
      } finally {
        await this.#persist(name, () => this.#asked("volume.detach", { name }), GONE);
      }
    });
  }

  /** What is written to a clone is there, and not in the snapshot, which is checked later. */
  async #cloneAndChange(): Promise<void> {
    const { prng } = this.#options;
    const snapshot = this.#snapshots[0] ?? (await this.#takeSnapshot());
    const clone = `clone${++this.#made}`;
    const request = { name: snapshot.name, clone };
    await this.#persist(clone, () => this.#asked("volume.clone", request), /^volume-exists$/);
    const ledger = snapshot.ledger.copy();
    await this.#check(clone, ledger, async (at) => {
      const load = new VerifiedLoad(at, ledger, prng);
      await load.start({ connections: 1, depth: 2 });
      // The host that serves it may go meanwhile; then it is looked at once more elsewhere.
      try {
        await Promise.race([load.acknowledged(CLONE_CHANGES), load.ended]);
      } finally {
        await load.finish();
      }
    });
    await this.#persist(clone, () => this.#asked("volume.delete", { name: clone }), GONE);
  }

  async #exportAndImport(): Promise<void> {
    const { world, folder } = this.#options;
    const { name, ledger } = this.#snapshots[0] ?? (await this.#takeSnapshot());
    const snapshot = name.slice(name.indexOf("@") + 1);
    const copy = `copy${++this.#made}`;
    const file = path.join(folder, `${copy}.dsv`);
    const cli = async (...args: readonly string[]): Promise<void> => {
      const api = world.cluster.api(Number(world.wellHost().slice(1)));
      const line = [CLI, "volume", ...args, "--json", "--api", api];
      await runTool(process.execPath, line, { timeoutMs: TOOL_MS_MAX });
    };
    await this.#persist(`export of ${name}`, async () => {
      fs.rmSync(file, { force: true });
      await cli("export", "demo", "--snapshot", snapshot, "--output", file);
    });
    const begin = ["import", copy, "--input", file, "--failures-to-tolerate", "1"];
    await this.#persist(`import of ${name}`, () => cli(...begin), /volume-exists/);
    fs.rmSync(file);
    await this.#check(copy, ledger);
    await this.#persist(copy, () => this.#asked("volume.delete", { name: copy }), GONE);
  }

  async #changePolicy(): Promise<void> {
    const { world } = this.#options;
    for (const stripes of [2, 1]) {
      const request = { name: "demo", stripes };
      await this.#persist(`${stripes} stripes`, () => this.#asked("volume.set", request));
      await world.untilWhole(["demo"]);
    }
  }

  /** Every device is right, and all of its space is known to somebody. */
  async #scrub(): Promise<void> {
    const { world, found } = this.#options;
    await this.#persist("scrub", async () => {
      const asked = world.wellHost();
      const { devices } = await world.call(asked, "device.list", {});
      const device = devices.find(({ host, state }) => host === asked && state === "online");
      if (device === undefined) throw new Error(`${asked} has no device online`);
      const { deviceId } = device;
      const { problems } = await world.call(asked, "device.scrub", { device: deviceId });
      for (const problem of problems) found(`scrub of ${asked}: ${problem}`);
    });
  }

  async #asked<N extends OperationName>(name: N, request: RequestOf<N>): Promise<void> {
    const { world } = this.#options;
    await world.call(world.wellHost(), name, request);
  }

  /** `done` is what a refusal says if what is wanted is so already. */
  async #persist<T>(what: string, work: () => Promise<T>): Promise<T>;
  async #persist(what: string, work: () => Promise<void>, done: RegExp): Promise<void>;
  async #persist(what: string, work: () => Promise<unknown>, done?: RegExp): Promise<unknown> {
    const limit = performance.now() + TRY_MS_MAX;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const code = codeOf(error);
        if (done?.test(code) === true) return undefined;
        if (performance.now() > limit) throw new Error(`${what} does not work`, { cause: error });
        this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
      }
      await sleep(AGAIN_MS);
    }
  }
}

function codeOf(error: unknown): string {
  if (error instanceof ApiRefusal) return error.code;
  const text = String(error);
  // A tool that was run: its error as JSON.
  return /"code":\s*"([a-z-]+)"/.exec(text)?.[1] ?? text.slice(0, 200);
}
