import { CodedError } from "../../base/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import type { ExportCatalog, ExportInfo, NbdClient } from "./export-catalog.ts";

/** A listener of its own for one volume, reachable by its name and as the default export. */
export class SingleExport implements ExportCatalog {
  readonly #volume: VolumeIo;
  readonly #description: string;
  readonly #mayUse: (client: NbdClient) => boolean;

  /** Who may not use it does not learn that it is there. */
  constructor(
    volume: VolumeIo,
    description: string,
    mayUse: (client: NbdClient) => boolean = () => true,
  ) {
    this.#volume = volume;
    this.#description = description;
    this.#mayUse = mayUse;
  }

  list(client: NbdClient): readonly ExportInfo[] {
    return this.#mayUse(client) ? [this.#info()] : [];
  }

  describe(name: string, client: NbdClient): ExportInfo | CodedError {
    const isIt = name === "" || name === this.#volume.name;
    return isIt && this.#mayUse(client) ? this.#info() : unknownExport(name);
  }

  open(name: string, client: NbdClient): VolumeIo | CodedError {
    const isIt = name === this.#volume.name;
    return isIt && this.#mayUse(client) ? this.#volume : unknownExport(name);
  }

  #info(): ExportInfo {
    const { name, sizeBytes, readOnly } = this.#volume;
    return { name, sizeBytes, readOnly, description: this.#description };
  }
}

function unknownExport(name: string): CodedError {
  return new CodedError({
    code: "export-unknown",
    message: `there is no export named '${name.slice(0, 64)}'`,
    hint: "list the exports with nbdinfo --list",
  });
}
