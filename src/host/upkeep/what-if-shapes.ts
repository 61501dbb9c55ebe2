/** What would become of the cluster if a host failed now, as the API shows it. */
import type { ObjectShape } from "../api/shape.ts";
import { choice, list, may, must, number, text, volumeName } from "../api/shape-words.ts";

export interface WhatIfMachine {
  readonly name: string;
  readonly outcome: "restarts" | "waits" | "stays-down";
  /** Where it starts. */
  readonly host?: string;
  /** From the failure until its process runs elsewhere, about. */
  readonly afterSeconds?: number;
  readonly because: string;
}

export interface WhatIfRebuild {
  readonly volume: string;
  /** Where the copy would be made anew; absent if there is no place for it. */
  readonly host?: string;
  /** Bytes of it; what is at its new place already is not sent. */
  readonly bytes: number;
}

export interface WhatIfView {
  readonly host: string;
  readonly machines: readonly WhatIfMachine[];
  /** Volumes that nobody can use until the host is back. */
  readonly unusable: readonly string[];
  /** Volumes that survive no further failure. */
  readonly atRisk: readonly string[];
  /** Made anew if the host stays away. */
  readonly rebuilds: readonly WhatIfRebuild[];
  /** How long the host is waited for before that. */
  readonly rebuildAfterSeconds: number;
  readonly bytesAtMost: number;
  /** At the speed of the last rebuilds; absent if there was none. */
  readonly rebuildSecondsAtMost?: number;
}

const machineShape: ObjectShape<WhatIfMachine> = {
  kind: "object",
  description: "A machine that the failure is about",
  fields: {
    name: must(text("The machine")),
    outcome: must(choice("What becomes of it", ["restarts", "waits", "stays-down"])),
    host: may(text("Where it starts")),
    afterSeconds: may(number("From the failure until it runs elsewhere, about")),
    because: must(text("Why")),
  },
};

const rebuildShape: ObjectShape<WhatIfRebuild> = {
  kind: "object",
  description: "A copy that is made anew elsewhere",
  fields: {
    volume: must(text("Its volume")),
    host: may(text("Where; absent if there is no place for it")),
    bytes: must(number("Bytes of it; what is there already is not sent")),
  },
};

export const whatIfRequestShape: ObjectShape<{ readonly name: string }> = {
  kind: "object",
  description: "The host that is taken to fail",
  fields: { name: must(volumeName("The host")) },
};

export const whatIfShape: ObjectShape<WhatIfView> = {
  kind: "object",
  description: "What would become of the cluster",
  fields: {
    host: must(text("The host that is taken to fail")),
    machines: must(list("Machines, in the order in which they start", machineShape)),
    unusable: must(list("Volumes that nobody can use until it is back", text("Its name"))),
    atRisk: must(list("Volumes that survive no further failure", text("Its name"))),
    rebuilds: must(list("Copies that are made anew if it stays away", rebuildShape)),
    rebuildAfterSeconds: must(number("How long it is waited for before that")),
    bytesAtMost: must(number("Bytes of all of them")),
    rebuildSecondsAtMost: may(number("At the speed of the last rebuilds, if there were any")),
  },
};
