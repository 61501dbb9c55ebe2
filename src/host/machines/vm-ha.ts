/**
 * HA modules over the management network, and the storage layer as each of them has it: the data
 * worker. Where storage and management are one network, a host that cannot be asked for a
 * machine's objects cannot be asked for anything else either.
 */
import { CodedError } from "../../base/index.ts";
import { findVm } from "../../cluster/index.ts";
import type { VmRecord } from "../../cluster/index.ts";
import type { HaPeers, ProtectionState, VmStorage } from "../../ha/index.ts";
import type { Directory } from "../../ports/index.ts";
import type { DataPlaneThread } from "../data/data-plane-thread.ts";
import type { HostManagement } from "../peers/host-management.ts";
import { isRecord } from "../api/shape.ts";

const ASK_MS = 5000;

type Plane = DataPlaneThread["peer"];

export function vmStorage(plane: Plane): VmStorage {
  return {
    reach: (vms) =>
      plane.call(
        "vmReach",
        vms.map(({ name, volumes }) => ({ vm: name, volumes })),
      ),
    persist: async (vm) => {
      const { name, volumes, protectionSequence: sequence, isProtected } = vm;
      const state = { vm: name, sequence, isProtected, definition: definitionOf(vm) };
      await plane.call("vmPersist", { state, volumes });
    },
    retrieve: (vms) => plane.call("vmRetrieve", vms),
  };
}

/** What the machine is; where it runs is the directory's to say. */
function definitionOf(vm: VmRecord): string {
  const { name, volumes, cpuCount, memoryBytes, boot, networks, history } = vm;
  const { priority, antiAffinity, isolation, storageLoss } = vm;
  const { hasWatchdog, hasAgent, firmwarePath } = vm;
  const choices = { priority, antiAffinity, isolation, storageLoss };
  const parts = { hasWatchdog, hasAgent, firmwarePath };
  return JSON.stringify({
    name,
    volumes,
    cpuCount,
    memoryBytes,
    boot,
    networks,
    history,
    ...choices,
    ...parts,
  });
}

export function haPeers(management: Pick<HostManagement, "askHa">): HaPeers {
  const ask = (hostId: string, method: string, argument: unknown): Promise<unknown> =>
    management.askHa(hostId, method, argument, ASK_MS);
  return {
    isAccessible: async (hostId, vm) => (await ask(hostId, "ha.accessible", { vm })) === true,
    persist: async (hostId, vm, sequence) =>
      void (await ask(hostId, "ha.persist", { vm, sequence })),
    retrieve: async (hostId, vms) =>
      statesOf(await ask(hostId, "ha.retrieve", { vms }), new Set(vms)),
  };
}

/** Of the machines that were asked for. Fails with `message-invalid`. */
function statesOf(said: unknown, vms: ReadonlySet<string>): readonly ProtectionState[] {
  if (!Array.isArray(said)) throw invalid();
  return said.map(stateOf).filter(({ vm }) => vms.has(vm));
}

function stateOf(said: unknown): ProtectionState {
  if (!isRecord(said)) throw invalid();
  const { vm, sequence, isProtected } = said;
  if (typeof vm !== "string" || typeof isProtected !== "boolean") throw invalid();
  if (typeof sequence !== "number" || !Number.isSafeInteger(sequence) || sequence < 0)
    throw invalid();
  return { vm, sequence, isProtected };
}

function invalid(): CodedError {
  const message = "another host says something of machines' homes that cannot be read";
  return new CodedError({ code: "message-invalid", message });
}

/** Answers other HA modules. */
export function offerHa(
  management: HostManagement,
  storage: VmStorage,
  directory: Directory,
  clusterId: string,
): void {
  const machine = async (argument: unknown): Promise<VmRecord> => {
    const { vm } = fieldsOf(argument);
    return (await findVm(directory, clusterId, String(vm))).record;
  };
  management.offerHa("ha.accessible", async (argument) => {
    const { inaccessible } = await storage.reach([await machine(argument)]);
    return inaccessible.length === 0;
  });
  management.offerHa("ha.persist", async (argument) => {
    const record = await machine(argument);
    const { sequence } = fieldsOf(argument);
    if (record.protectionSequence !== sequence)
      throw new CodedError({
        code: "request-invalid",
        message: `something newer than ${String(sequence)} is wanted for ${record.name} by now`,
      });
    await storage.persist(record);
    return null;
  });
  management.offerHa("ha.retrieve", async (argument) => {
    const { vms } = fieldsOf(argument);
    return await storage.retrieve(Array.isArray(vms) ? vms.map(String) : []);
  });
}

function fieldsOf(argument: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(argument)) return argument;
  throw new CodedError({ code: "request-invalid", message: "an HA module asks for nothing" });
}
