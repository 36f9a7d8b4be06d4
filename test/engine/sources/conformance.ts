import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  type ArtifactWriter,
  openPoint,
  openReference,
  type PointReader,
  type Progress,
  sealPoint,
} from '../../../engine/artifact/index.ts';
import type { SealResult, Source } from '../../../engine/sources/index.ts';
import { type Content, pointPrefix, type SealedPoint } from '../../../policies/recovery-point.ts';
import { failureOf, makePlace, type Place } from '../artifact/sealing.ts';

/** A point sealed from a source, opened again. */
export interface SealedSource {
  result: SealResult;
  point: SealedPoint;
  reader: PointReader;
  /** Where its sealed objects lie. */
  dir: string;
}

/** How a point is sealed that others may build upon. */
export interface Chain {
  /** The point to compare with, signed and beside it; null for a full one. */
  since: SealedSource | null;
  /** Public keys that signed. */
  trusted: string[];
  /** When the point to compare with is said to have been begun, instead of when it was. */
  begunAt?: string;
}

let serial = 0;

/** Seals what the source holds into the place, as a backup does. */
export async function sealSource(
  place: Place,
  source: Source,
  signal = new AbortController().signal,
  wrap: (writer: ArtifactWriter) => ArtifactWriter = (writer) => writer,
  chain: Chain | null = null,
): Promise<SealedSource> {
  const id = `${source.name}-${++serial}`;
  const dir = path.join(place.dir, pointPrefix(source.name, id));
  const scratchDir = mkdtempSync(path.join(place.dir, 'scratch-'));
  mkdirSync(dir, { recursive: true });
  const results: SealResult[] = [];
  const since = chain?.since ?? null;
  const manifest = since?.point.objects.find((o) => o.role === 'manifest')?.sha256 ?? '';
  const found = since ? await openReference(since.dir, { id: since.point.id, manifest }) : null;
  if (found && 'problem' in found) throw new Error(found.problem);
  const base = found && { ...found, capturedAt: chain?.begunAt ?? found.capturedAt };
  try {
    const point = await sealPoint({
      dir,
      point: {
        id,
        source: { name: source.name, kind: source.kind, host: 'local' },
        level: base ? 'incremental' : 'full',
        parent: base?.id ?? null,
        classes: ['manual'],
      },
      format: base ? 'blocks' : source.format,
      recipients: [place.recipient],
      software: 'tests',
      signal,
      withReference: chain !== null,
      others: base?.artifacts ?? [],
      seal: async (writer) => {
        const result = await source.seal(wrap(writer), {
          scratchDir,
          signal,
          onProgress: () => {},
          ...(base ? { base } : {}),
        });
        results.push(result);
        return result;
      },
    });
    const [result] = results;
    if (!result) throw new Error('nothing was sealed');
    const reader = await openPoint({
      store: place.store,
      source: source.name,
      id,
      identity: place.identity,
      sealed: true,
      ...(chain ? { parents: { store: place.store, trusted: chain.trusted } } : {}),
    });
    return { result, point, reader, dir };
  } finally {
    rmSync(scratchDir, { recursive: true });
  }
}

/** What a kind of source brings, so that the suite can try it. */
export interface SourceFixture {
  /** Holds a bit of everything that this kind must not lose. */
  source: Source;
  contentFormat: Content['format'];
  /** Holds nothing at all. */
  empty: Source;
  /** Its place, server or file is not there. */
  missing: Source;
  /** A new place that `restore` may fill, at every call another. */
  target(): Promise<string>;
  /** What somebody sees in such a place, by name. */
  held(target: string): Promise<string[]>;
  /** A place that holds something, and the name of it as the failure should tell it. */
  occupied(): Promise<{ into: string; name: string }>;
  /** Changes one thing in a restored place, as little as can be. */
  alter(target: string): Promise<void>;
  remove(): Promise<void>;
}

/** The contract of engine/sources/source.ts, which every kind keeps. */
export function describeSource(kind: string, build: () => Promise<SourceFixture>): void {
  describe(`the source ${kind}, by its contract,`, () => {
    const signal = new AbortController().signal;
    const onProgress = () => {};
    let place: Place;
    let fixture: SourceFixture;
    let sealed: SealedSource;
    beforeAll(async () => {
      place = await makePlace();
      fixture = await build();
      sealed = await sealSource(place, fixture.source);
    });
    afterAll(async () => {
      await fixture.remove();
      await place.remove();
    });

    test('probes without touching anything, and names facts that are no secret', async () => {
      const probe = await fixture.source.probe();
      expect(probe.estimatedBytes).toBeGreaterThanOrEqual(0);
      expect(Object.keys(probe.facts).length).toBeGreaterThan(0);
    });

    test('says in probe when what it protects is not there', async () => {
      const { type } = await failureOf(fixture.missing.probe());
      expect(['SourceMissing', 'SourceUnreachable']).toContain(type);
    });

    test('says what it captured', () => {
      const { result, point } = sealed;
      expect(point.content.format).toBe(fixture.contentFormat);
      expect(point.content.sourceBytes).toBeGreaterThan(0);
      expect(point.content.entries).toBeGreaterThan(0);
      expect(Date.parse(result.capturedAt)).toBeGreaterThanOrEqual(Date.parse(point.startedAt) - 1000);
      expect(Date.parse(result.capturedAt)).toBeLessThanOrEqual(Date.parse(point.sealedAt) + 1000);
    });

    test('restores what it sealed, and finds no difference; one that is made is found', async () => {
      const into = await fixture.target();
      const progress: Progress[] = [];
      const result = await fixture.source.restore(sealed.reader, {
        into,
        signal,
        onProgress: (p) => progress.push({ ...p }),
      });
      expect(result.entries).toBeGreaterThan(0);
      expect(progress.map((p) => p.bytesDone)).toEqual(progress.map((p) => p.bytesDone).sort((a, b) => a - b));
      const same = await fixture.source.compare(sealed.reader, into, signal);
      expect(same.differences).toEqual([]);
      expect(same.details).not.toBe('');
      await fixture.alter(into);
      const other = await fixture.source.compare(sealed.reader, into, signal);
      expect(other.differences.length).toBeGreaterThan(0);
      expect(other.differences.length).toBeLessThanOrEqual(20);
    });

    test('restores nothing over what is there, and names it', async () => {
      const { into, name } = await fixture.occupied();
      const before = await fixture.held(into);
      const failure = await failureOf(fixture.source.restore(sealed.reader, { into, signal, onProgress }));
      expect(failure).toMatchObject({ type: 'TargetNotEmpty', message: expect.stringContaining(name) });
      expect(await fixture.held(into)).toEqual(before);
    });

    test('leaves nothing in the target when a restore is aborted or the point is damaged', async () => {
      const into = await fixture.target();
      await failureOf(fixture.source.restore(sealed.reader, { into, signal: AbortSignal.abort(), onProgress }));
      expect(await fixture.held(into)).toEqual([]);
      const damaged = await damage(place, fixture.source);
      await failureOf(fixture.source.restore(damaged.reader, { into, signal, onProgress }));
      expect(await fixture.held(into)).toEqual([]);
    });

    test('leaves nothing sealed when sealing is aborted', async () => {
      const controller = new AbortController();
      controller.abort();
      await failureOf(sealSource(place, fixture.source, controller.signal));
      const dir = path.join(place.dir, pointPrefix(fixture.source.name, `${fixture.source.name}-${serial}`));
      expect(readdirSync(dir)).toEqual([]);
    });

    test('passes a test restore of its own point, and cleans up after it', async () => {
      const workDir = mkdtempSync(path.join(place.dir, 'work-'));
      const checks = await fixture.source.testRestore(sealed.reader, { workDir, signal, onProgress });
      expect(checks).toMatchObject([
        { check: 'restore_test', passed: true },
        { check: 'content', passed: true },
      ]);
      for (const { details } of checks) expect(details).toMatch(/\d/);
      expect(readdirSync(workDir)).toEqual([]);
    });

    test('fails the test restore of a damaged point, says why, and cleans up', async () => {
      const damaged = await damage(place, fixture.source);
      const workDir = mkdtempSync(path.join(place.dir, 'work-'));
      const checks = await fixture.source.testRestore(damaged.reader, { workDir, signal, onProgress });
      const failed = checks.filter((c) => !c.passed);
      expect(failed.length).toBeGreaterThan(0);
      expect(failed[0]?.error).toMatch(/damaged|segment|not what/);
      expect(readdirSync(workDir)).toEqual([]);
    });

    test('throws when a test restore is aborted, instead of blaming the point, and cleans up', async () => {
      const workDir = mkdtempSync(path.join(place.dir, 'work-'));
      const tried = fixture.source.testRestore(sealed.reader, { workDir, signal: AbortSignal.abort(), onProgress });
      await expect(tried).rejects.toThrow();
      expect(readdirSync(workDir)).toEqual([]);
    });

    test('seals and restores nothing at all', async () => {
      const nothing = await sealSource(place, fixture.empty);
      const workDir = mkdtempSync(path.join(place.dir, 'work-'));
      const checks = await fixture.empty.testRestore(nothing.reader, { workDir, signal, onProgress });
      expect(checks.map((c) => [c.check, c.passed])).toEqual([
        ['restore_test', true],
        ['content', true],
      ]);
    });
  });
}

/** A point of its own, one byte in the middle of its artifact flipped. */
async function damage(place: Place, source: Source): Promise<SealedSource> {
  const sealed = await sealSource(place, source);
  const artifact = sealed.point.objects.find((o) => o.role === 'artifact');
  if (!artifact) throw new Error('the point has no artifact');
  const file = path.join(sealed.dir, artifact.name);
  const bytes = readFileSync(file);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  return sealed;
}

/** A writer that is as the one given, but first something happens to each file that is about to be read. */
export function beforeReading(writer: ArtifactWriter, happens: (file: string) => void): ArtifactWriter {
  return {
    ...writer,
    frame(pieces) {
      for (const piece of pieces) if (piece.kind === 'file') happens(Buffer.from(piece.path).toString());
      return writer.frame(pieces);
    },
  };
}
