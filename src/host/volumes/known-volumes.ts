/**
 * The volumes as the directory tells of them, and as they were told of last while it is away: an
 * operator who looks for the cause of an outage needs the list most when the directory does not
 * answer. What is not from now says how old it is.
 *
 * What was changed through this host is always in it, however old the rest is.
 */
import { CodedError } from "../../base/index.ts";
import type { Clock, Timer } from "../../ports/index.ts";
import type { DataPlaneMethods } from "../data/data-plane-port.ts";
import type { RpcPeer } from "../data/rpc.ts";
import type { VolumeList, VolumeView } from "../api/views.ts";

/**
 * How long an answer from now is waited for, where there is an older one: longer than a host that
 * does not answer takes to be left out, shorter than the directory's calls take to be given up.
 */
const PATIENCE_MS = 3000;

interface Known {
  readonly volumes: readonly VolumeView[];
  /** Of the clock that never jumps. */
  readonly atMs: number;
}

export class KnownVolumes {
  readonly #plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">;
  readonly #clock: Clock;
  #known: Known | undefined;
  #changeCount = 0;

  constructor(plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">, clock: Clock) {
    this.#plane = plane;
    this.#clock = clock;
  }

  /** Fails with a code of the directory as long as it has never answered here. */
  async list(): Promise<VolumeList> {
    return await this.#orKnown(this.#ask(), ({ volumes, atMs }) => {
      return { volumes, ageMs: this.#ageOf(atMs) };
    });
  }

  /** Fails with `volume-not-found`, or with a code of the directory for one that is not known. */
  async show(name: string): Promise<VolumeView> {
    const asked = this.#plane.call("showVolume", name);
    return await this.#orKnown(asked, ({ volumes, atMs }) => {
      const found = volumes.find((volume) => volume.name === name);
      return found === undefined ? undefined : { ...found, ageMs: this.#ageOf(atMs) };
    });
  }

  changed(volume: VolumeView): void {
    const others = this.#without(volume.name);
    this.#change([...others, volume].toSorted((a, b) => (a.name < b.name ? -1 : 1)));
  }

  deleted(name: string): void {
    this.#change(this.#without(name));
  }

  async #ask(): Promise<VolumeList> {
    const changeCount = this.#changeCount;
    const atMs = this.#clock.nowMs();
    const volumes = await this.#plane.call("listVolumes", undefined);
    // What was changed meanwhile may be missing in what was read before.
    const isNewest = changeCount === this.#changeCount && atMs >= (this.#known?.atMs ?? atMs);
    if (isNewest) this.#known = { volumes, atMs };
    return { volumes };
  }

  async #orKnown<T>(asked: Promise<T>, fromKnown: (known: Known) => T | undefined): Promise<T> {
    const older = (): T | undefined => this.#known && fromKnown(this.#known);
    let timer: Timer | undefined;
    const patience = new Promise<T>((resolve) => {
      timer = this.#clock.after(PATIENCE_MS, () => {
        const answer = older();
        if (answer !== undefined) resolve(answer);
      });
    });
    try {
      return await Promise.race([asked, patience]);
    } catch (error) {
      const isAway = error instanceof CodedError && error.code.startsWith("directory-");
      const answer = isAway ? older() : undefined;
      if (answer === undefined) throw error;
      return answer;
    } finally {
      timer?.cancel();
    }
  }

  #without(name: string): readonly VolumeView[] {
    return (this.#known?.volumes ?? []).filter((volume) => volume.name !== name);
  }

  #change(volumes: readonly VolumeView[]): void {
    this.#changeCount++;
    if (this.#known !== undefined) this.#known = { volumes, atMs: this.#known.atMs };
  }

  #ageOf(atMs: number): number {
    return Math.max(0, Math.round(this.#clock.nowMs() - atMs));
  }
}
