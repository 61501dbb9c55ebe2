/**
 * The components of one device: making, finding and removing them. Whoever removes a component may
 * ask again and again, also while it is being made or is going already: once it was answered, no
 * crash brings the component back.
 */
import { assert, BLOCK_SIZE_BYTES, CodedError, marks } from "../base/index.ts";
import { commitFork, forkedInfo, requireForkable } from "./component-fork.ts";
import type { ComponentFork } from "./component-fork.ts";
import { deleteComponentMaps, resizeComponentMaps } from "./component-removal.ts";
import { newComponentInfo } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import type { Component } from "./component.ts";
import { commitCheckpoint, commitComponent } from "./device-records.ts";
import type { Checkpoint } from "./device-records.ts";
import type { DeviceState } from "./device-state.ts";
import { ExtentWalks } from "./extent-walks.ts";
import { StoreComponent } from "./store-component.ts";
import type { ComponentHost } from "./store-component.ts";

export interface NewComponent {
  readonly componentId: string;
  readonly objectId: string;
  /** A multiple of 4096, 0 for a witness. */
  readonly sizeBytes: number;
  /** Its object has data already: it does not count before it has caught up from the beginning. */
  readonly lacksAll?: boolean;
}

/** What the device decides for them. */
export interface ComponentsHost extends ComponentHost {
  readonly checkpoint: Checkpoint;
  /** The number of a new component. Fails with `component-limit`. */
  takeIndex(): number;
  /** Space was given back. */
  roomCame(): void;
}

/** A component that is on its way. */
interface Making {
  /** Nobody wants it any more. */
  isUndone: boolean;
}

export class DeviceComponents {
  readonly #state: DeviceState;
  readonly #host: ComponentsHost;
  readonly #walks: ExtentWalks;
  readonly #live = new Map<number, StoreComponent>();
  readonly #making = new Map<string, Making>();
  readonly #removing = new Map<string, Promise<void>>();
  /** Their removal is durable: what a crash cuts short goes on at the next start. */
  readonly #resumed = new Set<ComponentInfo>();

  constructor(state: DeviceState, host: ComponentsHost) {
    this.#state = state;
    this.#host = host;
    this.#walks = new ExtentWalks(state);
  }

  /** What looks through their maps fails from here on. */
  close(): void {
    this.#walks.close();
  }

  all(): readonly ComponentInfo[] {
    return this.#state.components.all().filter((info) => !info.deleting);
  }

  /**
   * Components with transactions that nobody has decided since the device was opened. Frames are
   * destaged in order, so these hold up all that came after: their objects' owners must settle
   * them.
   */
  undecided(): readonly ComponentInfo[] {
    return this.all().filter((info) => info.preparedSequence > info.committedSequence);
  }

  find(componentId: string): StoreComponent | undefined {
    const info = this.#state.components.byId(componentId);
    if (info === undefined || info.deleting) return undefined;
    let component = this.#live.get(info.index);
    if (component === undefined) {
      component = new StoreComponent(info, this.#host, this.#walks);
      this.#live.set(info.index, component);
    }
    return component;
  }

  /** Fails with `component-exists`, or `creation-undone` if it is removed meanwhile. */
  async create(options: NewComponent): Promise<Component> {
    const { componentId, objectId, sizeBytes } = options;
    assert(
      sizeBytes >= 0 && sizeBytes % BLOCK_SIZE_BYTES === 0,
      "component size is in whole blocks",
    );
    await this.#make(componentId, async () => {
      const blockCount = sizeBytes / BLOCK_SIZE_BYTES;
      const identity = { index: this.#host.takeIndex(), componentId, objectId, blockCount };
      const info = newComponentInfo(identity);
      if (options.lacksAll === true) info.catchUpFrom = 0;
      // Nobody can come in between: who removes it meanwhile waits, and finds it.
      await this.#host.exclusive(async () => {
        const { metadata, components, changeLog } = this.#state;
        await commitCheckpoint(metadata, this.#host.checkpoint);
        await commitComponent(metadata, info);
        components.add(info);
        changeLog.begin(info.index, 0);
      });
    });
    const component = this.find(componentId);
    if (component !== undefined) return component;
    throw undone(componentId);
  }

  /**
   * Makes a component that holds what another one holds now, and shares it. Nothing of that one may
   * be under way. Fails with `component-missing`, `component-exists`, `fenced`, `not-settled`, or
   * `creation-undone` if it is removed meanwhile.
   */
  async fork(fork: ComponentFork): Promise<void> {
    const { componentId, objectId, sourceId, epoch, sequence } = fork;
    await this.#make(componentId, async (requireWanted) => {
      const source = this.#require(sourceId);
      const component = this.find(sourceId);
      assert(component !== undefined, "a component that exists can be used");
      component.requireEpoch(epoch);
      component.commit(epoch, sequence);
      await this.#host.destage();
      await this.#host.exclusive(async () => {
        requireWanted();
        component.requireEpoch(epoch);
        requireForkable(this.#state, source, sequence);
        const info = forkedInfo(source, { index: this.#host.takeIndex(), componentId, objectId });
        const { isFrozen } = fork;
        await commitFork(this.#state, this.#host.checkpoint, { info, source, isFrozen });
        this.#state.changeLog.begin(info.index, info.committedSequence);
      });
    });
  }

  /** `work` calls what it is given before it writes, if it had to wait until then. */
  async #make(
    componentId: string,
    work: (requireWanted: () => void) => Promise<void>,
  ): Promise<void> {
    this.#state.components.requireNew(componentId);
    if (this.#making.has(componentId))
      throw new CodedError({
        code: "component-exists",
        message: `component ${componentId} is being made`,
      });
    const making: Making = { isUndone: false };
    this.#making.set(componentId, making);
    try {
      await work(() => {
        if (making.isUndone) throw undone(componentId);
      });
    } finally {
      this.#making.delete(componentId);
    }
  }

  #require(componentId: string): ComponentInfo {
    const info = this.#state.components.byId(componentId);
    if (info !== undefined && !info.deleting) return info;
    throw new CodedError({
      code: "component-missing",
      message: `device ${this.#state.superblock.deviceId} has no component ${componentId}`,
    });
  }

  /** Fails with `component-missing` or `shrink-unsupported`. */
  async resize(componentId: string, sizeBytes: number): Promise<void> {
    const info = this.#require(componentId);
    await this.#host.exclusive(() => resizeComponentMaps(this.#state, info, sizeBytes));
  }

  /**
   * Gives a component's space back, and returns when that is free; a crash in between resumes. Does
   * nothing if there is no such component. One that is being made never comes to be.
   */
  async remove(componentId: string): Promise<void> {
    const making = this.#making.get(componentId);
    if (making !== undefined) {
      marks.hit("a component was removed while it was made");
      making.isUndone = true;
      // What is being written at this moment is there afterwards.
      await this.#host.exclusive(async () => {});
    }
    const info = this.#state.components.byId(componentId);
    if (info === undefined || this.#resumed.has(info)) return;
    const underWay = this.#removing.get(componentId);
    if (underWay !== undefined) marks.hit("a component was removed twice at a time");
    await (underWay ?? this.#begin(info));
  }

  #begin(info: ComponentInfo): Promise<void> {
    info.deleting = true;
    this.#live.delete(info.index);
    this.#state.pending.forget(info.index);
    this.#state.changeLog.forget(info.index);
    const removing = this.#remove(info).finally(() => this.#removing.delete(info.componentId));
    this.#removing.set(info.componentId, removing);
    return removing;
  }

  async #remove(info: ComponentInfo): Promise<void> {
    await this.#host.exclusive(() => deleteComponentMaps(this.#state, info));
    this.#host.roomCame();
  }

  /** What a crash has cut short. */
  resumeRemovals(): void {
    for (const info of this.#state.components.all().filter((one) => one.deleting)) {
      this.#resumed.add(info);
      this.#remove(info)
        .catch((error: unknown) => {
          const details = { error: String(error) };
          this.#state.log.write("error", "could not finish a deletion", details);
        })
        .finally(() => this.#resumed.delete(info));
    }
  }
}

function undone(componentId: string): CodedError {
  return new CodedError({
    code: "creation-undone",
    message: `component ${componentId} was removed while it was being made`,
    hint: "try again",
  });
}
