/** The names nearest to one that was mistyped, at most three, nearest first. */
export function similarNames(wanted: string, names: readonly string[]): string[] {
  const lower = wanted.toLowerCase();
  const own = lower.slice(lower.indexOf('.') + 1);
  return names
    .map((name) => ({ name, distance: distanceOf(lower, own, name.toLowerCase()) }))
    .filter(({ distance }) => distance <= Math.max(2, wanted.length / 5))
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map(({ name }) => name);
}

function distanceOf(wanted: string, ownName: string, name: string): number {
  // The right table in another schema is the likeliest mistake after wrong case.
  if (name.slice(name.indexOf('.') + 1) === ownName) return name === wanted ? 0 : 1;
  return editDistance(wanted, name);
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same));
    }
    row = next;
  }
  return row[b.length]!;
}
