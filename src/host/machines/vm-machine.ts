/**
 * The handlers for what only the host can do that runs the virtual machine; other hosts ask it.
 */
import { CodedError } from "../../base/index.ts";
import { findVm } from "../../cluster/index.ts";
import type { VmRecord } from "../../cluster/index.ts";
import type { QemuHypervisor } from "../../platform/index.ts";
import type { Directory } from "../../ports/index.ts";
import type { Handlers } from "../api/http-api.ts";
import type { OtherHosts } from "../peers/other-hosts.ts";
import type {
  Done,
  VmConsoleRequest,
  VmConsoleView,
  VmHereRequest,
  VmTypeRequest,
} from "../api/views.ts";

/** Of one answer; who wants more asks again. */
export const CONSOLE_BYTES_MAX: number = 64 * 1024;

export interface VmMachineWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly hostName: string;
  readonly hypervisor: Pick<QemuHypervisor, "readConsole" | "type" | "reset">;
  readonly others: OtherHosts;
}

export type VmMachineHandlers = Pick<Handlers, "vm.console" | "vm.type" | "vm.reset">;

export function vmMachineHandlers(world: VmMachineWorld): VmMachineHandlers {
  const { hypervisor, hostName, hostId, others } = world;
  return {
    "vm.console": async (request: VmConsoleRequest): Promise<VmConsoleView> => {
      const { name, from } = request;
      const { epoch, hostId: place } = await placed(world, request);
      if (place === hostId) {
        const text = hypervisor.readConsole(name, from, CONSOLE_BYTES_MAX);
        return { name, host: hostName, epoch, ...text };
      }
      const query = new URLSearchParams({ here: "true" });
      if (from !== undefined) query.set("from", String(from));
      const path = `/v1/vms/${encodeURIComponent(name)}/console?${query}`;
      return (await others.call(place, "GET", path)) as VmConsoleView; // A host's own answer.
    },
    "vm.type": async (request: VmTypeRequest): Promise<Done> => {
      const { name, text, enter } = request;
      const { hostId: place } = await placed(world, request);
      const path = `/v1/vms/${encodeURIComponent(name)}/type`;
      if (place === hostId) await hypervisor.type(name, enter === true ? `${text}\r` : text);
      else await others.call(place, "POST", path, { text, enter: enter === true, here: true });
      return { done: true };
    },
    "vm.reset": async (request: VmHereRequest): Promise<Done> => {
      const { name } = request;
      const { hostId: place } = await placed(world, request);
      const path = `/v1/vms/${encodeURIComponent(name)}/reset`;
      if (place === hostId) await hypervisor.reset(name);
      else await others.call(place, "POST", path, { here: true });
      return { done: true };
    },
  };
}

/** Where the machine runs. Who was asked by another host does not pass the question on. */
async function placed(
  { directory, clusterId, hostId }: VmMachineWorld,
  { name, here }: VmHereRequest,
): Promise<VmRecord & { readonly hostId: string }> {
  const { record } = await findVm(directory, clusterId, name);
  const place = record.hostId;
  if (place !== undefined && (here !== true || place === hostId))
    return { ...record, hostId: place };
  throw new CodedError({
    code: "vm-runs-not",
    message: `virtual machine ${name} does not run${place === undefined ? "" : " here any more"}`,
    hint: place === undefined ? `drystone vm start ${name}` : "Try again",
  });
}
