import { describe, expect, test } from '@jest/globals';
import { wordsFor } from '../../../engine/notify/index.ts';
import { ended } from './events.ts';

describe('the words of a notification', () => {
  test('tell of a success: what, how much, how long, where', () => {
    const { kind, title, lines } = wordsFor(ended('succeeded'));
    expect(kind).toBe('success');
    expect(title).toContain('shop succeeded');
    const text = lines.join('\n');
    expect(text).toContain('3.00 GiB → 1.00 GiB in 4 min 05 s');
    expect(text).toContain('disk ✓, west ✓');
    expect(text).toContain('3-2-1: kept');
    expect(text).not.toContain('Next:');
  });

  test('tell of a point that stands but not as promised as of a failure, with the reason and the next step', () => {
    const { kind, lines } = wordsFor(ended('partial'));
    expect(kind).toBe('failure');
    const text = lines.join('\n');
    expect(text).toContain('west ✗ (bucket gone)');
    expect(text).toContain('BREACHED: no copy off-site');
    expect(text).toContain('backupctl backup run shop --wait');
  });

  test('tell of a failure with its reason and the next step', () => {
    const { kind, title, lines } = wordsFor(ended('failed'));
    expect(kind).toBe('failure');
    expect(title).toContain('shop failed');
    expect(lines.join('\n')).toContain('Reason: The disk');
    expect(lines.join('\n')).toContain('Next:');
  });

  test('call what was cancelled so', () => {
    expect(wordsFor(ended('cancelled')).title).toContain('was cancelled');
  });

  test('say what was left behind and where, and only else that nothing was', () => {
    const nothing = wordsFor(ended('failed')).lines.join('\n');
    expect(nothing).toContain('nothing half-done was left behind');
    const leftovers = { staging: true, copies: ['west'] };
    for (const outcome of ['failed', 'partial'] as const) {
      const text = wordsFor(ended(outcome, { leftovers })).lines.join('\n');
      expect(text).toContain("Left behind until it can be removed: on the host's staging disk, west");
      expect(text).not.toContain('nothing half-done');
    }
  });

  test('name at most ten of many warnings', () => {
    const { result } = ended('succeeded');
    if (!result) throw new Error('a success has a result');
    const warnings = Array.from({ length: 99 }, (_, i) => `file ${i} changed`);
    const { lines } = wordsFor(ended('succeeded', { result: { ...result, warnings } }));
    expect(lines.filter((l) => l.startsWith('Note:'))).toHaveLength(10);
  });
});
