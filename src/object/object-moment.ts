/**
 * One moment of an object: no change is under way, and every active component holds the same. What
 * is made of the components then is consistent, however the object is mirrored and striped.
 */
import { CodedError, marks } from "../base/index.ts";
import type { Component } from "../store/index.ts";
import type { Legs } from "./legs.ts";
import type { ObjectVolume } from "./object-volume.ts";

export interface ObjectMoment {
  readonly epoch: number;
  /** Everything up to here is decided, and nothing above exists. */
  readonly sequence: number;
}

export async function atOneMoment<T>(
  legs: Legs<Component>,
  volume: ObjectVolume,
  isHeld: boolean,
  work: (moment: ObjectMoment) => Promise<T>,
): Promise<T> {
  const { epoch } = volume;
  legs.commit(epoch, volume.watermark);
  legs.submit();
  // Most of what is in the journals goes home while writes go on.
  await Promise.all(legs.members.map((member) => destaged(member.component, epoch)));
  try {
    if (isHeld) await volume.pause();
    if (volume.isStopped)
      throw new CodedError({ code: "not-owner", message: "the volume has stopped" });
    const sequence = volume.watermark;
    legs.commit(epoch, sequence);
    legs.submit();
    marks.hit("an object was held at one moment");
    return await work({ epoch, sequence });
  } finally {
    if (isHeld) volume.resume();
  }
}

async function destaged(component: Component | undefined, epoch: number): Promise<void> {
  try {
    await component?.digests(epoch, 0, 1);
  } catch (error) {
    // With writes going on there is always something; what matters is asked again without.
    if (!(error instanceof CodedError)) throw error;
  }
}
