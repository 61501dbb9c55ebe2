/**
 * The text as one word of a shell's command line: what is printed for copy and paste must not do
 * anything else, whatever is in a path or a name.
 */
export function shellWord(text: string): string {
  if (/^[A-Za-z0-9@%+=:,./_-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", "'\\''")}'`;
}
