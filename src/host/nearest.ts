/**
 * "Did you mean": the choice that is nearest to what was typed, if one is near enough to be meant.
 */

/**
 * Longer texts are nobody's typing mistake; the distance's cost grows with the square of the
 * length.
 */
const LENGTH_MAX = 200;

export function nearest(typed: string, choices: readonly string[]): string | undefined {
  if (typed.length > LENGTH_MAX) return undefined;
  const wanted = typed.toLowerCase();
  const near = Math.max(1, Math.floor(typed.length / 3));
  let best: string | undefined;
  let bestDistance = near + 1;
  for (const choice of choices) {
    // The distance is at least this: most choices need not be looked at.
    if (Math.abs(choice.length - typed.length) >= bestDistance) continue;
    const distance = editDistance(wanted, choice.toLowerCase(), bestDistance);
    if (distance >= bestDistance) continue;
    best = choice;
    bestDistance = distance;
  }
  return best ?? uniqueExtension(typed, choices);
}

function uniqueExtension(typed: string, choices: readonly string[]): string | undefined {
  if (typed.length < 2) return undefined;
  const extended = choices.filter((choice) => choice.startsWith(typed));
  return extended.length === 1 ? extended[0] : undefined;
}

/**
 * Insertions, deletions, replacements and swaps of neighbours that turn one text into the other
 * (optimal string alignment distance). What is `limit` or more may be told as less than it is, but
 * as no less than `limit`.
 */
export function editDistance(from: string, to: string, limit: number = Infinity): number {
  let before: number[] = [];
  let leastBefore = 0;
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const current = [i];
    let least = i;
    for (let j = 1; j <= to.length; j++) {
      const replaced = previous[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      let distance = Math.min(previous[j]! + 1, current[j - 1]! + 1, replaced);
      const isSwap = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (isSwap) distance = Math.min(distance, before[j - 2]! + 1);
      current.push(distance);
      least = Math.min(least, distance);
    }
    // A swap reaches one row further back, which had no less either.
    if (least >= limit && leastBefore >= limit) return least;
    leastBefore = least;
    before = previous;
    previous = current;
  }
  return previous[to.length]!;
}
