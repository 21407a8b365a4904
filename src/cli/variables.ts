const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

/** Puts environment variables in the place of `${NAME}` in every string of a tree. An empty variable counts as not set. */
export function substituteVariables(
  raw: unknown,
  environment: NodeJS.ProcessEnv,
): { value: unknown; missing: { key: string; variable: string }[] } {
  const missing: { key: string; variable: string }[] = [];
  const walk = (value: unknown, key: string): unknown => {
    if (typeof value === 'string') {
      return value.replace(VARIABLE, (_, variable: string) => {
        const found = environment[variable];
        if (found === undefined || found === '') missing.push({ key, variable });
        return found ?? '';
      });
    }
    const inside = (name: string): string => (key === '' ? name : `${key}.${name}`);
    if (Array.isArray(value)) return value.map((item, index) => walk(item, inside(String(index))));
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([name, item]) => [name, walk(item, inside(name))]),
      );
    }
    return value;
  };
  return { value: walk(raw, ''), missing };
}
