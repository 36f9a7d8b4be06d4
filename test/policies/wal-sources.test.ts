import { describe, expect, test } from '@jest/globals';
import { checkPolicy } from '../../policies/cross-check.ts';
import { archivedSource, clusterSource, walSlot, walSources } from '../../policies/wal-sources.ts';
import { policyOf } from './policies.ts';

const cluster = (more: object = {}) => ({
  kind: 'postgres-physical',
  name: 'shop-db',
  connection: { host: 'db', user: 'backup' },
  ...more,
});
const files = { kind: 'files', name: 'photos', path: '/srv/photos' };

describe('archiving WAL', () => {
  test('is asked for by "wal: {}", with defaults', () => {
    const policy = policyOf({ sources: [cluster({ wal: {} }), cluster({ name: 'other' }), files] });
    expect(walSources(policy).map((s) => s.name)).toEqual(['shop-db']);
    expect(archivedSource(policy, 'shop-db').wal).toEqual({ every: '30s', slotBytes: 10 * 1024 ** 3 });
  });

  test('is a matter of the host that reads the cluster', () => {
    const policy = policyOf({ sources: [cluster({ wal: {}, host: 'db1' }), cluster({ wal: {}, name: 'other' })] });
    expect(walSources(policy, 'db1').map((s) => s.name)).toEqual(['shop-db']);
  });

  test('takes a slot of its own, named as PostgreSQL allows', () => {
    expect(walSlot('shop-db')).toBe('backup_shop_db');
    expect(walSlot('x')).toMatch(/^[a-z0-9_]{1,63}$/);
  });

  test('is refused for what has no WAL, and for what does not ask for it', () => {
    const policy = policyOf({ sources: [cluster(), files] });
    expect(() => clusterSource(policy, 'photos')).toThrow('has no WAL');
    expect(() => archivedSource(policy, 'shop-db')).toThrow('does not say that the WAL of shop-db is archived');
    expect(() => clusterSource(policy, 'nothing')).toThrow('no source named');
  });

  test('is found wrong where its promise cannot be kept, or its slot not be named', () => {
    const wrong = (more: object) =>
      checkPolicy(policyOf({ sources: [cluster(more)] }))
        .filter((f) => f.path[0] === 'sources')
        .map((f) => `${f.severity} ${f.path.join('.')}: ${f.text}`);
    expect(wrong({ wal: {} })).toEqual([]);
    expect(wrong({ wal: { every: '10m' }, rpo: '5m' })).toEqual([
      'warning sources.0.wal.every: 10m is longer than the 5m of data that "shop-db" may lose',
    ]);
    expect(wrong({ wal: {}, name: 'a'.repeat(57) })).toEqual([
      'error sources.0.name: too long for the name of a replication slot: at most 56 letters where WAL is archived',
    ]);
    expect(wrong({ name: 'a'.repeat(57) })).toEqual([]);
  });
});
