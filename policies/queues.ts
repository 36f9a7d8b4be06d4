/** Task queues: each has its own worker role, concurrency limit and credentials (ARCHITECTURE.md). */
export const queues = {
  /** Workflows, and the light activities: plan, catalog, notify. */
  coordination: 'coordination',
  /** Reading sources, sealing, and the staging disk of one host. Holds public recipients and the signing key only. */
  backup: (host: string) => `backup-${host}`,
  /** Moving staged bytes of one host to the copies. Holds store credentials that put and get, and delete nothing. */
  transfer: (host: string) => `transfer-${host}`,
  /** Removing from the copies what may go. Alone holds store credentials that delete; puts nothing. */
  retention: (host: string) => `retention-${host}`,
  /** Test restores of what is staged on one host. Holds an age identity. */
  validation: (host: string) => `validation-${host}`,
  /** Restores for people. Holds an age identity; polled by nobody else. */
  recovery: (host: string) => `recovery-${host}`,
} as const;

export const roles = ['coordination', 'backup', 'transfer', 'retention', 'validation', 'recovery'] as const;
export type Role = (typeof roles)[number];
