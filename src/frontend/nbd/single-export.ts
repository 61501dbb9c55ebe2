import { CodedError } from "../../base/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import type { ExportCatalog, ExportInfo, NbdClient } from "./export-catalog.ts";

/** A listener of its own for one volume, reachable by its name and as the default export. */
export class SingleExport implements ExportCatalog {
  readonly #volume: VolumeIo;
  readonly #description: string;

  constructor(volume: VolumeIo, description: string) {
    this.#volume = volume;
    this.#description = description;
  }

  list(_client: NbdClient): readonly ExportInfo[] {
    return [this.#info()];
  }

  describe(name: string, _client: NbdClient): ExportInfo | CodedError {
    return name === "" || name === this.#volume.name ? this.#info() : unknownExport(name);
  }

  open(name: string, _client: NbdClient): VolumeIo | CodedError {
    return name === this.#volume.name ? this.#volume : unknownExport(name);
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
