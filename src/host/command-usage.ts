/** How a command is written down for people. */
import type { Command, CommandOption } from "./command.ts";
import type { AnyObjectShape } from "./api/shape.ts";

/** Those without which the command is refused, as a host would or the process that it starts. */
export function requiredOptions(
  command: Command & { readonly request?: AnyObjectShape },
): readonly CommandOption[] {
  const fields = command.request?.fields ?? {};
  return command.options.filter(
    ({ field, isRequired }) => isRequired === true || fields[field]?.optional === false,
  );
}

/** The option with what stands for its value. */
export function optionUsage({ name, argument }: CommandOption): string {
  return argument === undefined ? `--${name}` : `--${name} ${argument}`;
}
