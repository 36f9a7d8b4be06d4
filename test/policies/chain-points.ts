import type { ChainPoint } from '../../policies/chain.ts';
import type { PlanRequest } from '../../policies/plan.ts';
import type { Level } from '../../policies/recovery-point.ts';

type Point = PlanRequest['points'][number];

export interface ChainPointChoices {
  /** Makes it an incremental one, unless told. */
  parent?: string;
  level?: Level;
  capturedAt?: string;
  /** By name; verified in `local` and `offsite`, unless told. */
  copies?: Record<string, ChainPoint['copies'][number]['state']>;
  passed?: boolean;
  host?: string;
  kind?: Point['backup']['source']['kind'];
  path?: string;
  storedBytes?: number;
  sourceBytes?: number;
}

/** A point of /srv/documents on files1, as the catalog knows it. */
export function chainPoint(id: string, choices: ChainPointChoices = {}): Point {
  const {
    parent = null,
    capturedAt = '2026-02-28T02:00:00Z',
    passed = true,
    host = 'files1',
    kind = 'files',
  } = choices;
  const { copies = { local: 'verified', offsite: 'verified' }, storedBytes = 10, sourceBytes = 20 } = choices;
  return {
    backup: {
      id,
      source: { name: 'documents', kind, host },
      level: choices.level ?? (parent === null ? 'full' : 'incremental'),
      parent,
      classes: ['daily'],
      capturedAt,
      facts: { path: choices.path ?? '/srv/documents' },
      objects: [{ role: 'manifest', name: 'manifest', bytes: storedBytes, sha256: id.padStart(64, '0') }],
      content: { format: 'pax-tar', bytes: 1, sourceBytes, entries: 1, unstable: 0 },
      validation: { passed },
    },
    copies: Object.entries(copies).map(([copy, state]) => ({ copy, state, publishedAt: capturedAt })),
  };
}
