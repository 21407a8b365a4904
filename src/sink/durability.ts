/**
 * What makes "stored" mean "still there after a power cut": the files of an insert are synced before it is answered. Merged
 * parts are not, so the parts they came from stay for longer than the kernel takes to write (30 s by default), though
 * not for ClickHouse's eight minutes, which at fifty inserts a second would be hundreds of thousands of files.
 */
export const DURABLE = 'fsync_after_insert = 1, fsync_part_directory = 1, old_parts_lifetime = 120';
