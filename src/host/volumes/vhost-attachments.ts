/**
 * Volumes offered to virtual machines over vhost-user, beside their NBD listener: the request of a
 * user, the part of the attachment's record, the server, and the command line that fits it.
 */
import { shellWord } from "../../base/index.ts";
import { SectionCache, ShortPoll, VhostUserServer } from "../../frontend/index.ts";
import type { ReadMemoryPool } from "../../frontend/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import type { SocketOwner } from "../../ports/index.ts";
import { CutOffEvents } from "../api/cut-off-events.ts";
import { OWNER_PATTERN, VHOST_QUEUES_MAX } from "../names.ts";
import type { PlaneWorld } from "../data/plane-world.ts";
import { isRecord } from "../api/shape.ts";
import type { VhostUserView, VolumeAttachRequest } from "../api/views.ts";

const QUEUES_DEFAULT = 4;
/** The sections of all machines' memory that are mapped at once: 16 GiB of address space. */
const SECTION_BYTES = 2 << 20;
const SECTIONS_MAX = 8192;

/** As in the directory. */
export interface VhostUserRecord {
  readonly path: string;
  readonly queueCount: number;
  /** `UID:GID` of the socket; the host's own without it. */
  readonly owner?: string;
}

export class VhostOffers {
  readonly #world: PlaneWorld;
  readonly #sections = new SectionCache({
    sectionBytes: SECTION_BYTES,
    sectionsMax: SECTIONS_MAX,
  });

  readonly #shortPoll: ShortPoll;
  readonly #cutOffs: CutOffEvents;
  readonly #memory: ReadMemoryPool;

  constructor(world: PlaneWorld, memory: ReadMemoryPool) {
    this.#world = world;
    this.#memory = memory;
    this.#shortPoll = new ShortPoll(world.clock);
    this.#cutOffs = new CutOffEvents(world.clock, (event) => world.addEvent(event));
  }

  get counters(): Readonly<Record<string, number>> {
    return { ...this.#sections.stats };
  }

  /** Fails as `SharedMemory.listen`. */
  offer(record: VhostUserRecord, volume: VolumeIo): Promise<VhostUserServer> {
    const { shared, clock, log } = this.#world;
    const owner = record.owner === undefined ? undefined : parseOwner(record.owner);
    return VhostUserServer.listen({ shared, clock, log }, volume, {
      path: record.path,
      queueCount: record.queueCount,
      sections: this.#sections,
      shortPoll: this.#shortPoll,
      memory: this.#memory,
      onViolation: (reason, isOurs) =>
        this.#cutOffs.add({ volume: volume.name, socket: record.path, reason, isOurs }),
      ...(owner === undefined ? {} : { owner }),
    });
  }

  close(): void {
    this.#cutOffs.close();
  }
}

/** What of a request to attach concerns vhost-user. */
export function vhostOf(request: VolumeAttachRequest): VhostUserRecord | undefined {
  const { vhostUser, vhostQueues, vhostOwner } = request;
  if (vhostUser === undefined) return undefined;
  return {
    path: vhostUser,
    queueCount: vhostQueues ?? QUEUES_DEFAULT,
    ...(vhostOwner === undefined ? {} : { owner: vhostOwner }),
  };
}

/** Of an attachment's record; undefined if it is offered over NBD alone. */
export function parseVhostRecord(field: unknown): VhostUserRecord | undefined {
  if (!isRecord(field)) return undefined;
  const { path, queueCount, owner } = field;
  const isWhole = typeof path === "string" && typeof queueCount === "number";
  if (!isWhole || queueCount < 1 || queueCount > VHOST_QUEUES_MAX) return undefined;
  return { path, queueCount, ...(typeof owner === "string" ? { owner } : {}) };
}

export function vhostView(
  volume: string,
  record: VhostUserRecord,
  server: VhostUserServer | undefined,
): VhostUserView {
  return {
    socket: record.path,
    queues: record.queueCount,
    connected: server?.status.isConnected ?? false,
    qemu: qemuArguments(volume, record),
  };
}

/**
 * What makes a machine of 1 GiB use the volume, as a shell takes it: its memory must be shared, and
 * QEMU connects again by itself when the host process comes back.
 */
function qemuArguments(volume: string, { path, queueCount }: VhostUserRecord): string {
  // A snapshot's mark is none of an identifier's letters, and volumes have no capital ones.
  const id = `drystone-${volume.replaceAll("@", "-AT-")}`;
  // A comma in a value is written twice.
  const socket = path.replaceAll(",", ",,");
  return [
    "-m 1G -object memory-backend-memfd,id=mem,size=1G,share=on -machine memory-backend=mem",
    `-chardev ${shellWord(`socket,id=${id},path=${socket},reconnect=1`)}`,
    `-device vhost-user-blk-pci,chardev=${id},num-queues=${queueCount}`,
  ].join(" ");
}

function parseOwner(text: string): SocketOwner | undefined {
  const match = OWNER_PATTERN.exec(text);
  return match === null ? undefined : { userId: Number(match[1]), groupId: Number(match[2]) };
}
