/**
 * `drystone dev --tour`: takes the power of the host under the virtual machine, later the storage
 * network alone of the next one, and shows what happens, with times. Each claim is checked; one
 * that does not hold ends the tour.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { CodedError } from "../../base/index.ts";
import { callApi } from "../api/api-call.ts";
import { GUEST_NAME } from "./dev-guest.ts";
import type { TreeView, VmConsoleView, VmView, VolumeView } from "../api/views.ts";

const POLL_MS = 100;
/** Far more than anything takes, on a machine that emulates its guests. */
const STEP_MS_MAX = 120_000;
const COUNTER_BEFORE = 10;
const COUNTED_AFTER = 5;

export interface TourWorld {
  readonly say: (line: string) => void;
  readonly hosts: readonly { readonly name: string; readonly api: string }[];
  readonly kill: (host: string) => Promise<void>;
  readonly start: (host: string) => Promise<void>;
  /** Cuts the host off the others on the storage network, and on no other. */
  readonly cutStorage: (host: string) => void;
  readonly heal: () => void;
}

/** Fails with `claim-failed` if something is not as it should be. */
export async function runTour(world: TourWorld): Promise<void> {
  await new Tour(world).run();
}

class Tour {
  readonly #world: TourWorld;
  readonly #startMs = performance.now();

  constructor(world: TourWorld) {
    this.#world = world;
  }

  async run(): Promise<void> {
    await this.#losePower();
    await this.#loseStorage();
  }

  async #losePower(): Promise<void> {
    const first = await this.#running();
    const copies = await this.#copies();
    this.#say(`guest runs on ${first}; its disk has copies on ${copies.join(" and ")}`);
    const before = await this.#counted(COUNTER_BEFORE);
    this.#say(`it has counted to ${before}, each number durable on both copies before it is said`);

    this.#say(`now the power of ${first} is cut: drystone dev kill ${first}`);
    const cutMs = performance.now();
    // Others answer for it from here on.
    const last = await this.#lastCounter();
    await this.#world.kill(first);
    const second = await this.#running(first);
    this.#say(`guest is started on ${second} after ${seconds(cutMs)}: ${await this.#reason()}`);
    const found = await this.#found();
    this.#claim(found >= last, `it found ${found} on its disk, and had said ${last} before`);
    const after = await this.#counted(found + COUNTED_AFTER);
    this.#say(`it counts on, ${after} by now, ${seconds(cutMs)} after the cut`);

    this.#say(`the power is back: drystone dev start ${first}`);
    const backMs = performance.now();
    await this.#world.start(first);
    await this.#untilEqual();
    this.#say(`${first} has received what it missed and all copies are equal: ${seconds(backMs)}`);
    const { host } = await this.#vm();
    this.#claim(host === second, `guest stays on ${second}; nothing was started twice`);
  }

  /** Its host lives and is heard of, and no longer reaches what the guest's disk needs. */
  async #loseStorage(): Promise<void> {
    const { host: first = "" } = await this.#vm();
    const cutMs = performance.now();
    const last = await this.#lastCounter();
    this.#world.cutStorage(first);
    this.#say(`only the storage network of ${first} is cut: drystone dev partition`);
    const second = await this.#running(first);
    this.#say(`guest is ended there and runs on ${second} after ${seconds(cutMs)}`);
    const found = await this.#found();
    this.#claim(found >= last, `it found ${found} on its disk, and had said ${last} before`);
    const after = await this.#counted(found + COUNTED_AFTER);
    this.#say(`it counts on, ${after} by now; the network is healed: drystone dev heal`);
    const healMs = performance.now();
    this.#world.heal();
    await this.#untilEqual();
    this.#say(
      `all copies are equal: ${seconds(healMs)}; why it is where it is: drystone why vm guest`,
    );
  }

  async #untilEqual(): Promise<void> {
    await this.#until("all copies are equal again", async () => {
      const { components } = await this.#volume();
      return components.every(({ state }) => state === "active");
    });
  }

  #say(line: string): void {
    const time = ((performance.now() - this.#startMs) / 1000).toFixed(1).padStart(6);
    this.#world.say(`${time} s  ${line}`);
  }

  #claim(holds: boolean, claim: string): void {
    if (!holds) throw failed(claim);
    this.#say(claim);
  }

  /** The host that runs it, another one than `not`. */
  async #running(not?: string): Promise<string> {
    let found = "";
    await this.#until(`guest runs${not === undefined ? "" : " elsewhere"}`, async () => {
      const { state, host } = await this.#vm();
      found = host ?? "";
      return state === "running" && host !== undefined && host !== not;
    });
    return found;
  }

  async #reason(): Promise<string> {
    const { history } = await this.#vm();
    return history.findLast(({ what }) => what.startsWith("placed on"))?.because ?? "";
  }

  async #copies(): Promise<readonly string[]> {
    const { components, tree } = await this.#volume();
    const copies = leavesOf(tree);
    return components.filter((one) => copies.includes(one.componentId)).map(({ host }) => host);
  }

  /** Resolves with what it has counted when that is at least `least`. */
  async #counted(least: number): Promise<number> {
    let counter = 0;
    await this.#until(`it counts to ${least}`, async () => {
      counter = await this.#lastCounter();
      return counter >= least;
    });
    return counter;
  }

  async #lastCounter(): Promise<number> {
    return lastNumber(/^COUNTER (\d+)\r?$/gm, (await this.#console()).text) ?? 0;
  }

  /** What was on the disk when the guest mounted it in its new place. */
  async #found(): Promise<number> {
    let found: number | undefined;
    await this.#until("the guest mounts its disk", async () => {
      found = lastNumber(/^COUNTER-FOUND (\d+)\r?$/gm, (await this.#console("?from=0")).text);
      return found !== undefined;
    });
    return found ?? 0;
  }

  async #vm(): Promise<VmView> {
    return (await this.#ask(`/v1/vms/${GUEST_NAME}`)) as VmView; // A host's own answer.
  }

  async #volume(): Promise<VolumeView> {
    return (await this.#ask(`/v1/volumes/${GUEST_NAME}`)) as VolumeView; // A host's own answer.
  }

  async #console(query = ""): Promise<VmConsoleView> {
    // A host's own answer.
    return (await this.#ask(`/v1/vms/${GUEST_NAME}/console${query}`)) as VmConsoleView;
  }

  /** The first host that answers. Fails as the last one does. */
  async #ask(path: string): Promise<unknown> {
    let last: unknown;
    for (const { api } of this.#world.hosts) {
      try {
        return await callApi(api, "GET", path);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  /** What the hosts refuse meanwhile is part of the way there. */
  async #until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + STEP_MS_MAX;
    for (;;) {
      let refusal = "";
      try {
        if (await isSo()) return;
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        refusal = `: ${error.message}`;
      }
      if (performance.now() > endMs)
        throw failed(`within ${STEP_MS_MAX / 1000} s, ${what}${refusal}`);
      await sleep(POLL_MS);
    }
  }
}

/** Components that hold data. */
function leavesOf({ kind, componentId, children = [] }: TreeView): readonly string[] {
  const own = kind === "component" && componentId !== undefined ? [componentId] : [];
  return [...own, ...children.flatMap(leavesOf)];
}

function lastNumber(pattern: RegExp, text: string): number | undefined {
  const last = [...text.matchAll(pattern)].at(-1)?.[1];
  return last === undefined ? undefined : Number(last);
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

function failed(claim: string): CodedError {
  return new CodedError({
    code: "claim-failed",
    message: `this does not hold: ${claim}`,
    hint: "look into host.log of each host, and drystone vm show guest",
  });
}
