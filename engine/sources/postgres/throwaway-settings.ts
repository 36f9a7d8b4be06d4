/** A throw-away server: nothing in it need survive a crash, and nothing in it may reach out. */
export const throwawaySettings = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '4GB',
  maintenance_work_mem: '128MB',
  autovacuum: 'off',
  max_logical_replication_workers: '0',
};
