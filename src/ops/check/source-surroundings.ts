import type { ClientBase } from 'pg';
import { passed, refused, warned, type Finding } from '../../pipeline/finding.js';
import type { Relation } from '../../pipeline/relation.js';
import { quoteName } from '../../source/connection.js';

/** What `checkSource` does not look at: what stands around the tables, and who owns them. */
export interface Surroundings {
  readonly findings: readonly Finding[];
  /** The tables' size in bytes, TOAST included. */
  readonly bytes: number;
}

const SERVER = `
  select pg_is_in_recovery() as standby, current_setting('server_version_num')::int4 as version,
         has_database_privilege(current_database(), 'create') as "mayCreate", current_database() as database,
         current_user as role,
         exists (select from pg_publication where pubname = $1) as published,
         (select extract(epoch from clock_timestamp() - min(xact_start))::float8 from pg_stat_activity
           where pid <> pg_backend_pid() and backend_type = 'client backend') as "oldestSeconds"`;

const TABLES = `
  select n.nspname || '.' || c.relname as id, n.nspname as schema,
         has_schema_privilege(n.oid, 'usage') as usable,
         pg_has_role(c.relowner, 'usage') as owned,
         (select coalesce(sum(pg_table_size(part.oid)), 0)
            from (select c.oid union select relid from pg_partition_tree(c.oid) where isleaf) part(oid))::float8 as bytes,
         coalesce((select array_agg(kn.nspname || '.' || k.relname order by 1)
            from pg_inherits i join pg_class k on k.oid = i.inhrelid join pg_namespace kn on kn.oid = k.relnamespace
           where i.inhparent = c.oid and c.relkind = 'r'), '{}')::text[] as children
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.oid = any($1::oid[]) order by 1`;

interface ServerRow {
  readonly standby: boolean;
  readonly version: number;
  readonly mayCreate: boolean;
  readonly database: string;
  readonly role: string;
  readonly published: boolean;
  readonly oldestSeconds: number | null;
}

interface TableRow {
  readonly id: string;
  readonly schema: string;
  readonly usable: boolean;
  readonly owned: boolean;
  readonly bytes: number;
  readonly children: readonly string[];
}

/** A slot waits for every transaction that is open when it is made. */
const OPEN_SECONDS_MAX = 60;
/** Standbys decode since Postgres 16. */
const STANDBY_VERSION_MIN = 160_000;
const LISTED_MAX = 20;

export async function checkSurroundings(
  client: ClientBase,
  options: {
    readonly relations: readonly Relation[];
    readonly publication: string;
    readonly decoder: string;
  },
): Promise<Surroundings> {
  const server = (await client.query<ServerRow>(SERVER, [options.publication])).rows[0]!;
  const oids = options.relations.map(({ oid }) => oid);
  const tables = (await client.query<TableRow>(TABLES, [oids])).rows;
  return {
    findings: [
      ...checkServer(server),
      ...(options.decoder === 'pgoutput' ? [checkPublication(server, options.publication, tables)] : []),
      ...tables.flatMap((table) => checkTable(table, server.role)),
    ],
    bytes: tables.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

function checkServer({ standby, version, oldestSeconds }: ServerRow): Finding[] {
  const findings: Finding[] = [];
  if (standby && version < STANDBY_VERSION_MIN) {
    findings.push(
      refused(
        'standby',
        'this server is a standby, and standbys decode since Postgres 16',
        'point source.url at the primary',
      ),
    );
  }
  const seconds = Math.round(oldestSeconds ?? 0);
  findings.push(
    seconds < OPEN_SECONDS_MAX
      ? passed('open transactions', 'none that a new slot or snapshot would wait for long')
      : warned(
          'open transactions',
          `one is open for ${seconds} s; a new slot or snapshot waits until it ends`,
          'select pid, xact_start, application_name from pg_stat_activity order by xact_start; and let it end',
        ),
  );
  return findings;
}

/** wal2json needs no publication; pgoutput's has to be made by somebody who may. */
function checkPublication(server: ServerRow, publication: string, tables: readonly TableRow[]): Finding {
  const title = 'publication right';
  const role = quoteName(server.role);
  if (server.published) return passed(title, `"${publication}" is there`);
  if (!server.mayCreate) {
    return refused(
      title,
      `${server.role} may not create anything in ${server.database}`,
      `grant create on database ${quoteName(server.database)} to ${role}, or let the tables' owner create the publication`,
    );
  }
  const foreign = tables.filter(({ owned }) => !owned).map(({ id }) => id);
  if (foreign.length === 0) return passed(title, `"${publication}" will be created`);
  return refused(
    title,
    `only their owner may publish ${some(foreign)}`,
    `as a superuser: create publication ${quoteName(publication)} for table ... with (publish_via_partition_root = true), and alter publication ${quoteName(publication)} owner to ${role}; or grant their owner's role to ${role}`,
  );
}

function checkTable({ id, schema, usable, children }: TableRow, role: string): Finding[] {
  const findings: Finding[] = [];
  if (!usable) {
    findings.push(
      refused(
        `schema of ${id}`,
        `${role} may not use schema ${schema}`,
        `grant usage on schema ${quoteName(schema)} to ${quoteName(role)}`,
      ),
    );
  }
  if (children.length > 0) {
    findings.push(
      warned(
        `inheritance of ${id}`,
        `${some(children)} inherit from it; a select on it in Postgres shows their rows too, its copy only its own`,
        'add those that are wanted to tables; each is copied as a table of its own',
      ),
    );
  }
  return findings;
}

export function some(names: readonly string[]): string {
  const listed = names.slice(0, LISTED_MAX).join(', ');
  return names.length > LISTED_MAX ? `${listed} and ${names.length - LISTED_MAX} more` : listed;
}
