/** ARC (Megiddo and Modha, FAST 2003), as in figure 4 of the paper. */
import { KeyLists, NO_LIST } from "./key-lists.ts";
import type { Policy, PolicySetting } from "./policy.ts";

const T1 = 1;
const T2 = 2;
const B1 = 3;
const B2 = 4;

export class Arc implements Policy {
  readonly #lists: KeyLists;
  readonly #capacity: number;
  #target = 0;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#capacity = capacity;
    this.#lists = new KeyLists(uniqueCount, 4);
  }

  access(key: number): boolean {
    const lists = this.#lists;
    const list = lists.listOf[key]!;
    if (list === T1 || list === T2) {
      lists.push(T2, key);
      return true;
    }
    if (list === B1) {
      const step = Math.max(1, lists.size(B2) / lists.size(B1));
      this.#target = Math.min(this.#capacity, this.#target + step);
    } else if (list === B2) {
      const step = Math.max(1, lists.size(B1) / lists.size(B2));
      this.#target = Math.max(0, this.#target - step);
    }
    if (list !== NO_LIST) {
      this.#replace(list === B2);
      lists.push(T2, key);
      return false;
    }
    this.#makeRoom();
    lists.push(T1, key);
    return false;
  }

  #makeRoom(): void {
    const lists = this.#lists;
    const recent = lists.size(T1) + lists.size(B1);
    if (recent === this.#capacity) {
      if (lists.size(T1) === this.#capacity) {
        lists.pop(T1);
        return;
      }
      lists.pop(B1);
      this.#replace(false);
      return;
    }
    const all = recent + lists.size(T2) + lists.size(B2);
    if (all < this.#capacity) return;
    if (all === 2 * this.#capacity) lists.pop(B2);
    this.#replace(false);
  }

  #replace(isInB2: boolean): void {
    const lists = this.#lists;
    if (lists.size(T1) + lists.size(T2) < this.#capacity) return;
    const size = lists.size(T1);
    const fromT1 =
      size > 0 && (size > this.#target || (isInB2 && size === Math.floor(this.#target)));
    if (fromT1 || lists.size(T2) === 0) lists.push(B1, lists.pop(T1));
    else lists.push(B2, lists.pop(T2));
  }
}
