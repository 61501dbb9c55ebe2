/** A simulated directory that can be away, slow to list, and lose watches; and who looks at it. */
import { CodedError } from "../../src/base/index.ts";
import { EmbeddedDirectory } from "../../src/cluster/index.ts";
import type { Clock, Directory, DirectoryEvent, DirectoryRecord } from "../../src/ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../../src/sim/index.ts";

export class DirectoryWorld {
  readonly clock: Clock;
  /** As it is. */
  readonly directory: EmbeddedDirectory;
  /** As it is seen. */
  readonly seen: Directory;
  /** Prefixes that were listed as it is seen. */
  readonly lists: string[] = [];
  /** How often single records were asked for as it is seen. */
  getCount = 0;
  isAway = false;
  /** How long the answer to a list is on its way. */
  listMs = 0;
  /** How long an event is on its way. */
  watchMs = 0;
  /** End watches, in the order in which they began, as after a gap. */
  readonly lose: (() => void)[] = [];

  static async run(work: (world: DirectoryWorld) => Promise<void>): Promise<void> {
    const simulation = new Simulation({ seed: 1 });
    const machine = new SimMachine(simulation);
    const store = new SimMetadataStore(machine, new MetadataMedium());
    const directory = await EmbeddedDirectory.open(store, machine.clock);
    await simulation.run(work(new DirectoryWorld(machine.clock, directory)));
  }

  private constructor(clock: Clock, directory: EmbeddedDirectory) {
    this.clock = clock;
    this.directory = directory;
    const away = (): CodedError => new CodedError({ code: "directory-unavailable", message: "-" });
    this.seen = Object.assign(Object.create(directory) as Directory, {
      get: async (key: string) => {
        if (this.isAway) throw away();
        this.getCount++;
        return await directory.get(key);
      },
      list: async (prefix: string) => {
        if (this.isAway) throw away();
        this.lists.push(prefix);
        const found = await directory.list(prefix);
        await this.pass(this.listMs);
        return found;
      },
      watch: (...asked: Parameters<Directory["watch"]>) => {
        const [prefix, fromRevision, onEvent, onLost] = asked;
        const later = (event: DirectoryEvent): void => {
          if (this.watchMs === 0) onEvent(event);
          else this.clock.after(this.watchMs, () => onEvent(event));
        };
        const watch = directory.watch(prefix, fromRevision, later, onLost);
        this.lose.push(() => {
          watch.cancel();
          onLost();
        });
        return watch;
      },
    });
  }

  async put(key: string, value: string): Promise<void> {
    await this.directory.transact([], [{ kind: "put", key, value }]);
  }

  async pass(ms: number): Promise<void> {
    await new Promise<void>((resolve) => void this.clock.after(ms, resolve));
  }

  async listed(prefix: string): Promise<Pick<DirectoryRecord, "key" | "value">[]> {
    const { records } = await this.directory.list(prefix);
    return records.map(({ key, value }) => ({ key, value }));
  }
}
