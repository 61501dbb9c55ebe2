export { commandEntries, globalOptions } from "./command-line.ts";
export { parseCommandLine } from "./command-line.ts";
export type { Invocation } from "./command-line.ts";
export { helpText } from "./help.ts";
