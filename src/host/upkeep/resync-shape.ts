/** The shape of a component that is being brought to the present. */
import type { ResyncView } from "./repair-views.ts";
import type { ObjectShape } from "../api/shape.ts";
import type { PolicyView } from "../api/views.ts";
import { choice, count, may, must, number, text } from "../api/shape-words.ts";

export const resyncShape: ObjectShape<ResyncView> = {
  kind: "object",
  description: "A component that is brought to the present",
  fields: {
    volume: must(text("Its volume")),
    componentId: must(text("Its id")),
    kind: must(choice("What is done", ["rebuild", "move", "catch-up", "policy-change"])),
    state: must(choice("Whether it is being done", ["running", "waiting", "blocked"])),
    host: must(text("Where it is made, or is")),
    device: must(text("The device there")),
    from: may(text("The host whose component it takes the place of")),
    share: may(number("How much of what its sources have was looked at, at most: 0 to 1")),
    bytesNeeded: must(count("Data that it lacked, as far as that is known to the volume's owner")),
    bytesSent: must(count("Sent in all attempts of that owner")),
    bytesSkipped: must(count("Of that, found on its device, and not sent before")),
    secondsLeft: may(number("As long as it goes on as it has so far")),
    reason: may(text("Why it waits, and what would help")),
  },
};

export const policyShape: ObjectShape<PolicyView> = {
  kind: "object",
  description: "The policy that is being brought about",
  fields: {
    failuresToTolerate: must(count("Host failures that it is to survive")),
    stripes: must(count("Devices that each copy is to be spread over")),
  },
};
