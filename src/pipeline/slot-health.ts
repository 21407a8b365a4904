/** How much WAL a slot holds back, and how much more there may be before Postgres gives the slot up. */
export interface SlotHealth {
  readonly heldBytes: bigint;
  /** Bytes of WAL that may still be written before it is in danger; null where nothing limits it. */
  readonly headroomBytes: bigint | null;
  /** max_slot_wal_keep_size; null where nothing limits it. */
  readonly limitBytes: bigint | null;
  /** `reserved`, `extended`, `unreserved` or `lost`, as Postgres says. */
  readonly walStatus: string;
  /** Somebody reads it. */
  readonly active: boolean;
}

/** What a person should hear of it, in the shape of an error. */
export interface SlotWarning {
  readonly kind: 'slot_endangered';
  readonly what: string;
  readonly why: string;
  readonly fix: string;
}

/** Of its limit; the rest is the time to act. */
const ENDANGERED_SHARE = 2n;
/** Where nothing limits it, the disk does in the end. */
const UNLIMITED_BYTES = 8n * 1024n ** 3n;
const MIB = 1024n ** 2n;

/** Tells long before the slot is lost, or the source's disk is full of the WAL that it holds back; null while all is well. */
export function slotWarning(slot: string, health: SlotHealth): SlotWarning | null {
  const { heldBytes, headroomBytes, limitBytes, walStatus } = health;
  const behind = 'find out what keeps this from being read (walhouse status says what is waited for)';
  const held = (): string => `slot "${slot}" holds back ${mebibytes(heldBytes)} of WAL`;
  if (limitBytes === null) {
    if (heldBytes < UNLIMITED_BYTES) return null;
    return {
      kind: 'slot_endangered',
      what: `${held()}, and nothing limits it.`,
      why: "It grows until it is read, or the source's disk is full.",
      fix: `${behind}; and: alter system set max_slot_wal_keep_size = '100GB', or what the disk can spare`,
    };
  }
  const isUnreserved = walStatus === 'unreserved' || walStatus === 'lost';
  const isHalfGone = heldBytes * ENDANGERED_SHARE >= limitBytes;
  if (!isUnreserved && !isHalfGone) return null;
  return {
    kind: 'slot_endangered',
    what: `${held()}, of ${mebibytes(limitBytes)} that it may (max_slot_wal_keep_size); ${
      isUnreserved
        ? 'Postgres may drop it at the next checkpoint'
        : `${mebibytes(headroomBytes ?? 0n)} are left`
    }.`,
    why: 'When there is no room left the slot is lost, and every table has to be copied anew.',
    fix: `${behind}; for more time: alter system set max_slot_wal_keep_size = '${String((4n * limitBytes) / MIB)}MB'; select pg_reload_conf()`,
  };
}

function mebibytes(bytes: bigint): string {
  return `${(bytes / MIB).toLocaleString('en')} MiB`;
}
