import { describe, expect, test } from '@jest/globals';
import { momentOf, tablespacesOf, targetOf } from '../../client/commands/restore.ts';

const files = { name: 'tree', kind: 'files' } as const;
const cluster = { name: 'cluster', kind: 'postgres-physical' } as const;
const database = { name: 'shop', kind: 'postgres-logical' } as const;

describe('where to restore to', () => {
  test('is a directory, made absolute here, for files', () => {
    expect(targetOf(files, { into: 'out' }, '/home/me')).toEqual({ directory: '/home/me/out' });
    expect(targetOf(files, { into: '/srv/out', path: ['*.txt'] }, '/home/me')).toEqual({ directory: '/srv/out' });
  });

  test('is a directory for a cluster, and one for each tablespace that is named', () => {
    expect(targetOf(cluster, { into: 'data' }, '/srv')).toEqual({ directory: '/srv/data' });
    expect(tablespacesOf(cluster, {})).toBeUndefined();
    expect(tablespacesOf(cluster, { tablespace: ['/old/a=/new/a=b', '/old/c=/new/c'] })).toEqual({
      '/old/a': '/new/a=b',
      '/old/c': '/new/c',
    });
  });

  test.each([
    ['what is no pair of absolute paths', cluster, '/old'],
    ['a relative place', cluster, '/old=new'],
    ['a place for a tablespace of what has none', files, '/old=/new'],
  ])('refuses %s', (_what, source, text) => {
    expect(() => tablespacesOf(source, { tablespace: [text] })).toThrow(
      expect.objectContaining({
        type: 'UsageInvalid',
        message: expect.stringContaining(source === files ? 'tree' : text),
      }),
    );
  });

  test('is a URI for databases', () => {
    const into = 'postgresql://me@db.example:5432/fresh';
    expect(targetOf(database, { into }, '/')).toEqual({ databaseUri: into });
  });

  test.each([
    ['nothing', files, {}],
    ['a database for files', files, { into: 'postgresql://db/x' }],
    ['a directory for a database', database, { into: '/srv/out' }],
    ['a password in the URI', database, { into: 'postgresql://me:hush-hush@db/x' }],
    ['a password in the query of the URI', database, { into: 'postgresql://me@db/x?password=hush-hush' }],
    ['globs for a cluster', cluster, { into: '/srv/out', path: ['*'] }],
    ['a database for a cluster', cluster, { into: 'postgresql://db/x' }],
    ['globs for a database', database, { into: 'postgresql://me@db/x', path: ['*'] }],
    ['a URI that is none', database, { into: 'postgresql://[' }],
  ])('is refused: %s', (_what, source, options) => {
    expect(() => targetOf(source, options, '/')).toThrow(
      expect.objectContaining({
        type: 'UsageInvalid',
        message: expect.not.stringContaining('hush-hush'),
        next: expect.not.stringContaining('hush-hush'),
      }),
    );
  });
});

describe('the moment to come back to', () => {
  test('is that of a cluster, on the timeline that is named', () => {
    expect(momentOf(cluster, {})).toEqual({});
    expect(momentOf(cluster, { to: 'latest', timeline: 2 })).toEqual({ to: { kind: 'latest' }, timeline: 2 });
  });

  test.each([
    ['for files', files, { to: 'latest' }],
    ['for a dump', database, { to: 'latest' }],
    ['together with a point', cluster, { to: 'latest', point: 'cluster-1' }],
    ['a timeline alone', cluster, { timeline: 2 }],
    ['none at all', cluster, { to: 'yesterday' }],
  ])('is refused: %s', (_what, source, options) => {
    expect(() => momentOf(source, options)).toThrow(expect.objectContaining({ type: 'UsageInvalid' }));
  });
});
