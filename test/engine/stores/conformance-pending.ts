import { describe, expect, test } from '@jest/globals';
import { bytesSource } from '../../../engine/stores/index.ts';
import type { PendingPut, PutProgress } from '../../../engine/stores/store.ts';
import {
  all,
  bytesOf,
  content,
  failureType,
  keysOf,
  ownPrefix,
  pendingOf,
  put,
  type StoreUnderTest,
  sha256Of,
  troubled,
} from './fixture.ts';

/** beginPut, completePut, abortPut, listPending, and going on after an interruption. */
export function describePending(under: StoreUnderTest): void {
  describe('a put that is under way', () => {
    test('is not visible until it is completed, in any process', async () => {
      const { store, fixture } = under;
      for (const length of [0, 1000, 2 * fixture.partBytes]) {
        const key = `${ownPrefix()}object`;
        const metadata = { 'db-name': 'shop' };
        const tags = { Lifecycle: 'Archive' };
        const pending = await store.beginPut(key, bytesSource(content(length)), { metadata, tags });
        expect(pending).toMatchObject({ key, bytes: length, sha256: sha256Of(content(length)) });
        expect(await failureType(store.head(key))).toBe('ObjectMissing');
        expect(await keysOf(store, key)).toEqual([]);
        // It travels as plain data through a workflow.
        const travelled = JSON.parse(JSON.stringify(pending)) as PendingPut;
        expect(travelled.token.length).toBeLessThanOrEqual(1024);
        const stored = await fixture.open().completePut(travelled);
        expect(stored).toMatchObject({ key, bytes: length, sha256: sha256Of(content(length)), metadata });
        expect((await bytesOf(store, key)).equals(content(length))).toBe(true);
        expect(await store.getTags(key)).toEqual(tags);
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('is listed under its prefix with when it began, and gone after it is aborted', async () => {
      const { store, fixture } = under;
      const prefix = ownPrefix();
      const began = Date.now();
      const one = await store.beginPut(`${prefix}a/one`, bytesSource(content(2 * fixture.partBytes)), {});
      await store.beginPut(`${prefix}b/two`, bytesSource(content(fixture.partBytes + 1)), {});
      const listed = await all(fixture.open().listPending(prefix));
      expect(listed.map((p) => p.key).sort()).toEqual([`${prefix}a/one`, `${prefix}b/two`]);
      for (const { startedAt } of listed) {
        const [from, to] = fixture.dates === false ? [0, Date.now()] : [began - 1000, Date.now() + 1000];
        expect(Date.parse(startedAt)).toBeGreaterThanOrEqual(from);
        expect(Date.parse(startedAt)).toBeLessThanOrEqual(to);
      }
      expect((await pendingOf(store, `${prefix}a`)).map((p) => p.key)).toEqual([`${prefix}a/one`]);
      expect(await pendingOf(store, `${prefix}c`)).toEqual([]);
      for (const pending of await pendingOf(store, prefix)) await store.abortPut(pending);
      await store.abortPut(one);
      expect(await pendingOf(store, prefix)).toEqual([]);
      expect(await failureType(store.completePut(one))).toBe('ObjectMissing');
      expect(await keysOf(store, prefix)).toEqual([]);
    });

    test('may be completed twice, as when the first answer is lost', async () => {
      const { store, fixture } = under;
      for (const length of [1000, 2 * fixture.partBytes]) {
        const key = `${ownPrefix()}object`;
        const pending = await store.beginPut(key, bytesSource(content(length)), {});
        const stored = await store.completePut(pending);
        expect(await store.completePut(pending)).toEqual(stored);
        await store.abortPut(pending);
        expect(await store.head(key)).toEqual(stored);
      }
    });

    test('fails when another object got there first, and then holds nothing any more', async () => {
      const { store, fixture } = under;
      for (const length of [1000, 2 * fixture.partBytes]) {
        const key = `${ownPrefix()}object`;
        const late = await store.beginPut(key, bytesSource(content(length)), {});
        await put(store, key, 'first');
        expect(await failureType(store.completePut(late))).toBe('ObjectExists');
        expect((await bytesOf(store, key)).toString()).toBe('first');
        expect(await pendingOf(store, key)).toEqual([]);
      }
    });

    test('becomes an object only when all its bytes have arrived', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const length = 2 * fixture.partBytes + 300_000;
      const breaking = troubled({ bytes: content(length), breaksAt: length - 100_000 });
      await expect(store.beginPut(key, breaking, {})).rejects.toThrow('the source broke');
      const [listed] = await pendingOf(store, key);
      if (!listed) throw new Error('nothing is pending');
      const whole = { ...listed, bytes: length, sha256: sha256Of(content(length)) };
      expect(await failureType(store.completePut(whole))).toBe('ChecksumMismatch');
      expect(await failureType(store.head(key))).toBe('ObjectMissing');
      await store.abortPut(listed);
    });

    test('goes on after an interruption, in another process, with what has arrived', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const length = 3 * fixture.partBytes + 1000;
      const bytes = content(length);
      let last: PutProgress | undefined;
      const options = { onProgress: (p: PutProgress) => (last = p), metadata: { 'db-name': 'shop' } };
      const breaking = troubled({ bytes, breaksAt: length - 500 });
      await expect(store.put(key, breaking, options)).rejects.toThrow('the source broke');
      const resume = last?.resume ?? '';
      expect(resume.length).toBeLessThanOrEqual(1024);
      const told: number[] = [];
      const stored = await fixture.open().put(key, bytesSource(bytes), {
        ...options,
        resume,
        onProgress: (p) => told.push(p.bytesDone),
      });
      expect(stored).toMatchObject({ sha256: sha256Of(bytes), metadata: { 'db-name': 'shop' } });
      expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
      // What was there is known before anything new is sent.
      expect(told.find((b) => b > 0)).toBeGreaterThanOrEqual(fixture.partBytes);
      expect(await pendingOf(store, key)).toEqual([]);
    });

    test('takes nothing over that is not what the source has now', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const length = 3 * fixture.partBytes;
      let resume = '';
      const breaking = troubled({ bytes: content(length, 1), breaksAt: length - 500 });
      const told = store.put(key, breaking, { onProgress: (p) => (resume = p.resume) });
      await expect(told).rejects.toThrow('the source broke');
      await put(store, key, content(length, 2), { resume });
      expect((await bytesOf(store, key)).equals(content(length, 2))).toBe(true);
      for (const pending of await pendingOf(store, key)) await store.abortPut(pending);
    });

    test('begins anew when its token is of no use', async () => {
      const { store, fixture } = under;
      const prefix = ownPrefix();
      const other = await store.beginPut(`${prefix}other`, bytesSource(content(fixture.partBytes + 1)), {});
      const gone = await store.beginPut(`${prefix}gone`, bytesSource(content(fixture.partBytes + 1)), {});
      await store.abortPut(gone);
      const bytes = content(fixture.partBytes + 2);
      for (const [i, resume] of ['', 'rubbish', '../../etc', other.token, gone.token].entries()) {
        await put(store, `${prefix}object ${i}`, bytes, { resume });
        expect((await bytesOf(store, `${prefix}object ${i}`)).equals(bytes)).toBe(true);
      }
      expect((await store.completePut(other)).sha256).toBe(other.sha256);
      expect(await pendingOf(store, prefix)).toEqual([]);
    });

    test('stops when its signal is aborted, and goes on later', async () => {
      const { store, fixture } = under;
      const key = `${ownPrefix()}object`;
      const bytes = content(4 * fixture.partBytes);
      await expect(put(store, key, bytes, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
      expect(await pendingOf(store, key)).toEqual([]);
      const controller = new AbortController();
      let last: PutProgress | undefined;
      const onProgress = (p: PutProgress) => {
        last = p;
        if (p.bytesDone >= fixture.partBytes) controller.abort();
      };
      const options = { signal: controller.signal, onProgress };
      await expect(store.put(key, troubled({ bytes }), options)).rejects.toThrow(/abort/i);
      expect(last?.bytesDone).toBeLessThan(bytes.length);
      expect(await failureType(store.head(key))).toBe('ObjectMissing');
      await put(store, key, bytes, { resume: last?.resume });
      expect((await bytesOf(store, key)).equals(bytes)).toBe(true);
      expect(await pendingOf(store, key)).toEqual([]);
    });
  });
}
