import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const FOLDER = new URL('../../clickhouse/roles/', import.meta.url);

export type RoleFile = 'writer' | 'reader' | 'analyst' | 'analyst_user';

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A role's statements as the documents have them filled in, without comments. */
export function roleStatements(file: RoleFile, values: Readonly<Record<string, string>>): string[] {
  let sql = readFileSync(new URL(`${file}.sql`, FOLDER), 'utf8').replaceAll(/^--.*\n/gm, '');
  for (const [name, value] of Object.entries(values)) sql = sql.replaceAll(`{${name}}`, value);
  return sql
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

interface Account {
  hash: string;
  profile: string;
  quota: string;
  readonly grants: string[];
}

/**
 * A configuration with the users and roles that these statements make. The local ClickHouse stores none that are made by SQL, but takes
 * grants word for word from a file; only profiles and quotas have to be written another way. Throws where a statement is none that it
 * knows, so that nothing in the files goes untried. Users without a password file keep `default`, which may do anything.
 */
export function usersFile(statements: readonly string[]): string {
  const users = new Map<string, Account>();
  const roles = new Map<string, string[]>();
  const profiles = new Map<string, string>();
  const quotas = new Map<string, string>();
  /** What a role brings with it that is not a grant. */
  const profileOf = new Map<string, string>();
  const quotaOf = new Map<string, string>();
  const grantsOf = (name: string): string[] => {
    const found = users.get(name)?.grants ?? roles.get(name);
    if (found === undefined) throw new Error(`no such user or role: ${name}`);
    return found;
  };
  for (const statement of statements) {
    const is = (pattern: RegExp): RegExpExecArray | null => pattern.exec(statement);
    let found: RegExpExecArray | null;
    if (
      (found = is(
        /^(?:create user if not exists|alter user) (\w+) identified with sha256_hash by '(\w+)'(?: settings profile (\w+))?$/,
      ))
    ) {
      const [, name, hash, profile] = found;
      users.set(name!, {
        hash: hash!,
        profile: profile ?? 'default',
        quota: 'default',
        grants: users.get(name!)?.grants ?? [],
      });
    } else if ((found = is(/^create role if not exists (\w+)$/))) roles.set(found[1]!, []);
    else if ((found = is(/^grant (\w+) to (\w+)$/)) && roles.has(found[1]!)) {
      const [, role, name] = found;
      users.get(name!)!.profile = profileOf.get(role!) ?? 'default';
      users.get(name!)!.quota = quotaOf.get(role!) ?? 'default';
      grantsOf(name!).push(`grant ${role}`);
    } else if ((found = is(/^(grant\s[^;]+)\sto (\w+) with replace option$/)))
      grantsOf(found[2]!).push(found[1]!);
    else if ((found = is(/^(revoke\s[^;]+)\sfrom (\w+)$/))) grantsOf(found[2]!).push(found[1]!);
    else if ((found = is(/^create settings profile or replace (\w+) settings\s([^;]+?)(?:\sto (\w+))?$/))) {
      profiles.set(found[1]!, profileXml(found[2]!));
      if (found[3] !== undefined) profileOf.set(found[3], found[1]!);
    } else if (
      (found = is(
        /^create quota or replace (\w+) keyed by user_name\s+for interval 1 hour max ([^;]+?)\sto (\w+)$/,
      ))
    ) {
      const limits = found[2]!.split(',').map((limit) => limit.trim().split(' = ') as [string, string]);
      quotas.set(
        found[1]!,
        `<interval><duration>3600</duration>${limits.map(([name, value]) => element(name, value)).join('')}</interval>`,
      );
      quotaOf.set(found[3]!, found[1]!);
    } else throw new Error(`not a statement that is known here: ${statement}`);
  }
  const anyone = '<networks><ip>::/0</ip></networks>';
  const granted = (grants: readonly string[]): string =>
    element('grants', grants.map((grant) => element('query', grant)).join(''));
  return element(
    'clickhouse',
    [
      element(
        'users',
        `<default><password></password>${anyone}<profile>default</profile><quota>default</quota><access_management>1</access_management></default>${[
          ...users,
        ]
          .map(([name, { hash, profile, quota, grants }]) =>
            element(
              name,
              `<password_sha256_hex>${hash}</password_sha256_hex>${anyone}<profile>${profile}</profile><quota>${quota}</quota>${granted(grants)}`,
            ),
          )
          .join('')}`,
      ),
      element('roles', [...roles].map(([name, grants]) => element(name, granted(grants))).join('')),
      element('profiles', `<default/>${[...profiles].map(([name, xml]) => element(name, xml)).join('')}`),
      element('quotas', `<default/>${[...quotas].map(([name, xml]) => element(name, xml)).join('')}`),
    ].join('\n'),
  );
}

/** `name [= value] [min n] [max n] [const | changeable_in_readonly], ...` */
function profileXml(text: string): string {
  const settings = text.split(',').map((line) => {
    const found =
      /^(\w+)(?: = (\w+))?(?: min (\d+))?(?: max (\d+))?(?: (const|changeable_in_readonly))?$/.exec(
        line.trim(),
      );
    if (found === null) throw new Error(`not a setting that is known here: ${line}`);
    const [, name = '', value, min, max, word] = found;
    const rules = [
      ...(min === undefined ? [] : [element('min', min)]),
      ...(max === undefined ? [] : [element('max', max)]),
      ...(word === undefined ? [] : [element(word, '')]),
    ].join('');
    return { own: value === undefined ? '' : element(name, value), rule: rules && element(name, rules) };
  });
  return `${settings.map(({ own }) => own).join('')}${element('constraints', settings.map(({ rule }) => rule).join(''))}`;
}

/** For `startClickHouse`: a file that names the users' own. */
export function writeUsers(directory: string, statements: readonly string[]): string {
  writeFileSync(`${directory}/users.xml`, usersFile(statements));
  const config = `${directory}/config.xml`;
  writeFileSync(
    config,
    '<clickhouse><users_config>' +
      `${directory}/users.xml` +
      '</users_config><access_control_improvements><select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>' +
      '<settings_constraints_replace_previous>true</settings_constraints_replace_previous><table_engines_require_grant>true</table_engines_require_grant></access_control_improvements></clickhouse>',
  );
  return config;
}

function element(name: string, inside: string): string {
  return `<${name}>${inside}</${name}>`;
}
