/**
 * Answers that must wait for the end of the turn, because a caller is still inside the call that
 * they belong to. Also the place where that end is noticed: one microtask per turn, however many
 * answers.
 */
import { assertDefined } from "../base/index.ts";
import type { IoDone, IoFault } from "./volume-io.ts";

export class AnswerQueue {
  readonly #onTurnEnd: () => void;
  #dones: IoDone[] = [];
  #tokens: number[] = [];
  #faults: (IoFault | undefined)[] = [];
  #isScheduled = false;

  /** `onTurnEnd` is called after the answers of a turn were given. */
  constructor(onTurnEnd: () => void) {
    this.#onTurnEnd = onTurnEnd;
  }

  add(done: IoDone, token: number, fault: IoFault | undefined): void {
    this.#dones.push(done);
    this.#tokens.push(token);
    this.#faults.push(fault);
    this.scheduleTurnEnd();
  }

  scheduleTurnEnd(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    void Promise.resolve().then(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#isScheduled = false;
    const dones = this.#dones;
    const tokens = this.#tokens;
    const faults = this.#faults;
    if (dones.length > 0) {
      this.#dones = [];
      this.#tokens = [];
      this.#faults = [];
    }
    for (let i = 0; i < dones.length; i++)
      assertDefined(dones[i], "no callback")(assertDefined(tokens[i], "no token"), faults[i]);
    this.#onTurnEnd();
  };
}
