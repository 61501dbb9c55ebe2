/** `npm run package`: builds the Debian package into dist/packages. */
import { mkdirSync } from "node:fs";
import { join, relative } from "node:path";
import { buildDebianPackage } from "./package/debian-package.ts";
import { REPOSITORY } from "./repository.ts";

const folder = join(REPOSITORY, "dist/packages");
mkdirSync(folder, { recursive: true });
const path = buildDebianPackage(folder);
console.log(`built ${relative(REPOSITORY, path)}`);
