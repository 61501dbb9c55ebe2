/**
 * One user of a volume, with one request at a time. It talks to one host until that one refuses or,
 * unless it is patient, says nothing; so two hosts that both believe to own a volume both have
 * somebody who believes them.
 */
import { assertDefined, CodedError, SECTOR_SIZE_BYTES } from "../base/index.ts";
import type { Prng } from "../base/index.ts";
import type { IoFault, ObjectOwner } from "../object/index.ts";
import { BLOCK_SECTORS } from "./linearizability.ts";
import { stackOf } from "./trial-host.ts";
import type { TrialHost } from "./trial-host.ts";
import type { TrialVolume } from "./trial-volume.ts";
import type { TrialWorld } from "./trial-world.ts";
import { fillContent, readContents } from "./volume-history.ts";
import type { Request, VolumeHistory } from "./volume-history.ts";

/** Contents that several writes share have numbers below this. */
const COMMON_CONTENTS = 16;

export interface Ask {
  readonly kind: "read" | "data" | "zero" | "discard";
  readonly firstSector: number;
  readonly sectorCount: number;
}

type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "silent" }
  | { readonly kind: "refused"; readonly code: string };

export class TrialClient {
  readonly #world: TrialWorld;
  readonly #volume: TrialVolume;
  readonly #prng: Prng;
  readonly #name: string;
  readonly #isPatient: boolean;
  #host: TrialHost;

  /** `host`: whom it asks first. */
  constructor(world: TrialWorld, volume: TrialVolume, number: number, host?: TrialHost) {
    this.#world = world;
    this.#volume = volume;
    this.#prng = world.prng.fork();
    this.#name = `${volume.name}.c${number}`;
    this.#isPatient = this.#prng.chance(volume.plan.workload.patientShare);
    this.#host = host ?? this.#anyHost();
  }

  async run(): Promise<void> {
    const { thinkMsMax } = this.#volume.plan.workload;
    while (!this.#world.isOver) {
      this.#host = this.#host.usersGoTo ?? this.#host;
      if (!this.#volume.isHeld) await this.ask(this.#draw());
      await this.#world.pass(this.#prng.below(thinkMsMax * 10) / 10);
    }
  }

  /** The owner that answered this client last, if it still owns the volume. */
  async served(): Promise<ObjectOwner | undefined> {
    const { objectId } = this.#volume;
    return this.#host.owns(objectId) ? await this.#host.serve(objectId) : undefined;
  }

  /** True if the request was done. Otherwise the client has looked for another host. */
  async ask(ask: Ask): Promise<boolean> {
    const outcome = await this.#send(ask);
    if (outcome.kind === "done") return true;
    await this.#move(outcome);
    return false;
  }

  #draw(): Ask {
    const { workload, sizeBytes } = this.#volume.plan;
    const prng = this.#prng;
    const sectors = sizeBytes / SECTOR_SIZE_BYTES;
    const isHot = prng.chance(0.9);
    const block = isHot
      ? prng.pick(workload.hotBlocks)
      : prng.below(Math.floor(sectors / BLOCK_SECTORS));
    const blocks = prng.chance(0.7) ? 1 : prng.between(1, workload.blocksMax);
    let firstSector = block * BLOCK_SECTORS;
    let sectorCount = blocks * BLOCK_SECTORS;
    if (prng.chance(workload.partialShare)) {
      firstSector += prng.below(BLOCK_SECTORS);
      sectorCount = prng.between(1, sectorCount);
    }
    sectorCount = Math.min(sectorCount, sectors - firstSector);
    const kind = prng.chance(workload.readShare)
      ? "read"
      : prng.chance(workload.zeroShare)
        ? prng.pick(["zero", "discard"] as const)
        : "data";
    return { kind, firstSector, sectorCount };
  }

  async #send(ask: Ask): Promise<Outcome> {
    const { simulation } = this.#world;
    const host = this.#host;
    const patienceMs = this.#isPatient ? 20_000 : this.#prng.between(500, 6000);
    return await new Promise<Outcome>((resolve) => {
      let isWaiting = true;
      const settle = (outcome: Outcome): void => {
        isWaiting = false;
        timer.cancel();
        resolve(outcome);
      };
      const timer = simulation.clock.after(patienceMs, () => settle({ kind: "silent" }));
      // Within the host: if that stands still or has no power, so does the request.
      host.machine.schedule(0, () => {
        const { objectId, history } = this.#volume;
        host.serve(objectId).then(
          (owner) => {
            // Who has just died has nothing to answer with.
            if (isWaiting && host.isUp) this.#issue({ host, owner, history }, ask, settle);
          },
          (error: unknown) => {
            if (error instanceof CodedError) settle({ kind: "refused", code: error.code });
            else this.#world.fail("crash", `${host.name} cannot serve: ${stackOf(error)}`);
          },
        );
      });
    });
  }

  #issue(
    to: {
      readonly host: TrialHost;
      readonly owner: ObjectOwner;
      readonly history: VolumeHistory;
    },
    ask: Ask,
    settle: (outcome: Outcome) => void,
  ): void {
    const { host, owner, history } = to;
    const { kind, firstSector, sectorCount } = ask;
    const content = kind === "data" ? this.#newContent() : 0;
    const isRead = kind === "read";
    const request = history.call(isRead ? "read" : "write", firstSector, sectorCount, content);
    const what = `${kind} ${firstSector}+${sectorCount}${kind === "data" ? ` = ${content}` : ""}`;
    this.#trace(`${what} at ${host.name}, epoch ${owner.epoch}`);
    const memory = isRead ? host.takeMemory() : undefined;
    const answer = (_token: number, fault: IoFault | undefined): void => {
      if (fault === undefined) {
        const bytes = memory?.bytes.subarray(0, sectorCount * SECTOR_SIZE_BYTES);
        this.#answered(history, request, what, bytes);
      } else this.#refused(what, fault);
      if (memory !== undefined) host.giveMemory(memory);
      settle(fault === undefined ? { kind: "done" } : { kind: "refused", code: fault });
    };
    const { volume } = owner;
    const offset = firstSector * SECTOR_SIZE_BYTES;
    const length = sectorCount * SECTOR_SIZE_BYTES;
    if (memory !== undefined) {
      // At once where that can be done, as front ends do.
      const isReadNow = volume.readNow(memory, 0, length, offset);
      if (isReadNow) void Promise.resolve().then(() => answer(0, undefined));
      else volume.read(memory, 0, length, offset, answer, 0);
    } else if (kind === "data") {
      const bytes = new Uint8Array(length);
      fillContent(bytes, content);
      volume.write(bytes, 0, length, offset, answer, 0);
    } else if (kind === "zero") volume.writeZeroes(offset, length, true, answer, 0);
    else volume.discard(offset, length, answer, 0);
    volume.submit();
  }

  #answered(
    history: VolumeHistory,
    request: Request,
    what: string,
    bytes: Uint8Array | undefined,
  ): void {
    const seen = bytes === undefined ? [] : readContents(bytes);
    history.answer(request, seen);
    this.#trace(`${what}: done${bytes === undefined ? "" : `, saw ${summary(seen)}`}`);
  }

  #refused(what: string, fault: IoFault): void {
    this.#trace(`${what}: ${fault}`);
    if (fault === "io-error" && !this.#world.isDamageExplained)
      this.#world.fail("read-error", `${what}: all disks are in order`);
  }

  async #move(outcome: Outcome): Promise<void> {
    const before = this.#host;
    if (outcome.kind === "refused") await this.#world.pass(this.#prng.between(20, 400));
    if (outcome.kind === "refused" && outcome.code === "volume-not-found")
      await this.#world.refresh(this.#volume);
    if (outcome.kind === "refused" && outcome.code === "volume-in-use") {
      const record = await this.#world.record(this.#volume.objectId);
      this.#host = this.#world.hosts.find((host) => host.hostId === record?.owner) ?? before;
    } else if (!this.#isPatient || outcome.kind === "refused" || before.isOff) {
      this.#host = this.#anyHost();
    }
    if (this.#host !== before) this.#trace(`goes from ${before.name} to ${this.#host.name}`);
  }

  /** Where a disk may forget what it stored, its host owns nothing: see the plan. */
  #anyHost(): TrialHost {
    const { sickHost } = this.#world.plan.faults;
    const good = this.#world.hosts.filter((host) => host.number !== sickHost);
    return this.#prng.pick(good);
  }

  #newContent(): number {
    if (this.#prng.chance(this.#volume.plan.workload.commonShare))
      return 1 + this.#prng.below(COMMON_CONTENTS);
    return this.#world.newContent();
  }

  #trace(what: string): void {
    this.#world.trace.add(this.#name, what);
  }
}

function summary(seen: readonly number[]): string {
  const first = assertDefined(seen[0], "a read sees something");
  return seen.every((content) => content === first) ? String(first) : seen.join(",");
}
