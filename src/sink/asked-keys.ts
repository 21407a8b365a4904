import { quoteString } from './identifier.js';
import type { TablePlan } from './plan.js';

/** A parameter travels in the address of a request, which proxies allow about 8 kB for; every byte may become three. */
const BYTES_MAX = 2_000;

/** Some keys, as a table that a statement can read. */
export interface AskedKeys {
  readonly keys: readonly string[];
  /** In place of a table's name: its columns are `i` (which of `keys`, from 0) and k0, k1, ... It stands for the parameter below. */
  readonly table: string;
  readonly params: Readonly<Record<string, string>>;
}

/**
 * Keys of a table (as `encodedKey` writes them), in pieces that one statement can ask for. They are parameters and no text of the statement,
 * since ClickHouse logs that.
 */
export function* askedKeys(plan: TablePlan, keys: readonly string[]): Generator<AskedKeys> {
  const structure = plan.relation.key.map((index, i) => `k${i} ${plan.columns[index]!.stored.base}`);
  const table = `format(TabSeparated, ${quoteString(`i UInt32, ${structure.join(', ')}`)}, {keys:String})`;
  for (let first = 0; first < keys.length;) {
    let data = '';
    let next = first;
    while (next < keys.length) {
      const line = `${next - first}\t${asAscii(keys[next]!)}\n`;
      if (next > first && data.length + line.length > BYTES_MAX) break;
      data += line;
      next += 1;
    }
    yield { keys: keys.slice(first, next), table, params: { keys: data } };
    first = next;
  }
}

/** Keys may hold bytes that are no UTF-8, and a parameter may not. */
function asAscii(key: string): string {
  return key.replace(/[\x80-\xff]/g, (char) => `\\x${char.charCodeAt(0).toString(16)}`);
}
