/**
 * Moves an attached volume to another host. Its requests wait inside the host that has it, which
 * gives the volume up in good order; then the other host takes it and offers it. Clients that look
 * for it there, as a relay does, see a pause and no error. If the other host cannot offer it, the
 * first one does as before.
 */
import { CodedError } from "../../base/index.ts";
import type { ObjectRecord } from "../../cluster/index.ts";
import type { CallRequest, Links } from "../../link/index.ts";
import type { ClusterHosts } from "../../plane/index.ts";
import { attachmentViewShape, volumeMoveShape } from "./attach-shapes.ts";
import { notAttached } from "./attachment-records.ts";
import type { Attachments } from "./attachments.ts";
import { readAnswer } from "../peers/peer-answers.ts";
import type { AttachmentView, VolumeMoveRequest } from "../api/views.ts";

/** Taking a volume may have to wait until another host's lease has ended. */
const TAKE_MS = 60_000;
/** Of whoever has another host do all of it. */
const MOVE_MS = TAKE_MS + 15_000;

export interface VolumeMoverWorld {
  readonly links: Pick<Links, "handle" | "peer" | "call">;
  readonly hosts: Pick<ClusterHosts, "find">;
  readonly hostId: string;
  readonly attachments: Pick<Attachments, "find" | "view" | "handOver">;
  readonly find: (name: string) => Promise<ObjectRecord>;
  /** One thing at a time for each name. */
  readonly exclusive: <T>(name: string, task: () => Promise<T>) => Promise<T>;
}

export class VolumeMover {
  readonly #world: VolumeMoverWorld;

  constructor(world: VolumeMoverWorld) {
    this.#world = world;
    world.links.handle("volume.move", async ({ argument }: CallRequest) => ({
      result: await this.move(readAnswer(volumeMoveShape, argument, "message-invalid")),
    }));
  }

  /**
   * Fails with `host-unknown`, `host-unreachable`, `volume-not-attached`, `volume-of-vm`,
   * `volume-in-use` while it is being moved or detached, and as `volume attach` on the other host.
   */
  async move(request: VolumeMoveRequest): Promise<AttachmentView> {
    const { links, hosts, hostId, attachments, find } = this.#world;
    const target = hosts.find(request.host);
    if (target === undefined) throw isAway(request.host);
    const wanted = await find(request.name);
    const at = await attachments.find(wanted.objectId);
    if (at === undefined) throw notAttached(request.name);
    if (at.hostId !== hostId) {
      const options = { deadlineMs: MOVE_MS };
      const { result } = await links.call(at.hostId, "volume.move", request, options);
      return readAnswer(attachmentViewShape, result, "host-unreachable");
    }
    if (at.vhostUser !== undefined) throw isOfMachine(request.name);
    return await this.#world.exclusive(request.name, async () => {
      const volume = await find(request.name);
      const here = attachments.view(volume.objectId);
      if (target.hostId === hostId && here !== undefined) return here;
      const { host, ...offer } = request;
      const take = async (): Promise<AttachmentView> => {
        const options = { deadlineMs: TAKE_MS };
        const asked = { ...offer, readOnly: at.readOnly };
        const answer = await links.call(target.hostId, "volume.attach", asked, options);
        return readAnswer(attachmentViewShape, answer.result, "host-unreachable");
      };
      // Nothing is given up for a host that cannot be asked.
      if (links.peer(target.hostId)?.isUp !== true) throw isAway(host);
      return await attachments.handOver(volume, { hostId: target.hostId, name: host }, take);
    });
  }
}

function isAway(host: string): CodedError {
  return new CodedError({
    code: "host-unreachable",
    message: `host ${host} cannot be reached: the volume stays where it is`,
    hint: "drystone host list shows which hosts are up",
  });
}

function isOfMachine(volume: string): CodedError {
  return new CodedError({
    code: "volume-of-vm",
    message: `volume ${volume} is attached for a virtual machine, whose memory it shares`,
    hint: "It moves with its machine: drystone vm migrate NAME --host HOST",
  });
}
