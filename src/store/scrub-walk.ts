/** How a scrub goes over the maps of a device: a part at a time, and alone where it must be. */
import type { MetadataStore } from "../ports/index.ts";
import type { DeviceState } from "./device-state.ts";
import { closedError } from "./walk-turns.ts";

export interface ScrubHost {
  readonly state: DeviceState;
  /** Runs `work` while nothing changes the maps. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Nothing may be read any more. */
  readonly isClosed: boolean;
}

export class ScrubWalk {
  readonly state: DeviceState;
  readonly #host: ScrubHost;
  /** Values of the maps that are looked at in one turn. */
  readonly valuesAtOnce: number;
  readonly #onTurn: () => void;

  /** `onTurn` is called between two turns. */
  constructor(
    host: ScrubHost,
    options: { readonly valuesAtOnce: number; readonly onTurn: () => void },
  ) {
    this.state = host.state;
    this.#host = host;
    this.valuesAtOnce = options.valuesAtOnce;
    this.#onTurn = options.onTurn;
  }

  /** Fails with `unreachable` when the device is being closed. */
  async othersTurn(): Promise<void> {
    await new Promise<void>((resolve) => void this.state.clock.after(0, resolve));
    this.#onTurn();
    this.#requireOpen();
  }

  /** Runs `work` while nothing changes the maps. Everybody else waits: for short work only. */
  async alone<T>(work: () => T | Promise<T>): Promise<T> {
    return await this.#host.exclusive(async () => {
      this.#requireOpen();
      return await work();
    });
  }

  /** As `MetadataStore.scan`, in many turns, between which the maps may change. */
  async scan(...[from, end, visit]: Parameters<MetadataStore["scan"]>): Promise<void> {
    let next: Uint8Array | undefined = from;
    while (next !== undefined) {
      const start: Uint8Array = next;
      let seen = 0;
      next = undefined;
      this.state.metadata.scan(start, end, (key, value) => {
        if (seen++ < this.valuesAtOnce) return visit(key, value);
        next = key.slice();
        return false;
      });
      await this.othersTurn();
    }
  }

  #requireOpen(): void {
    if (this.#host.isClosed) throw closedError();
  }
}
