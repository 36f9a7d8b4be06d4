import { createHash } from 'node:crypto';
import { Failure } from '../../policies/failure.ts';
import { readBytes } from '../stores/index.ts';
import { wayOutFiles } from '../way-out/index.ts';
import { examined, type Part } from './part.ts';

const ofAnyVersion = /^(?:restore-([0-9a-f]{12})\.mjs|RESTORE-([0-9a-f]{12})\.md)$/;

/**
 * The script and the page that restore without this software. Those of this version must be in every store, and are made
 * anew. Those of older ones must be what their names say where they are, but are not spread: people run them, and a name
 * that fits its hash says nothing of who wrote it.
 */
export function wayOutPart(): Part {
  const own = new Map(wayOutFiles().map(({ name, text }) => [name, text]));
  return {
    description: null,
    facts: () => null,
    text: (key) => own.get(key) ?? null,
    owns: (key) => ofAnyVersion.test(key),
    async *keysIn(store) {
      yield* own.keys();
      for (const prefix of ['restore-', 'RESTORE-']) {
        for await (const { key } of store.list(prefix)) if (ofAnyVersion.test(key) && !own.has(key)) yield key;
      }
    },
    examine: (store, key, options) =>
      examined(async () => {
        const bytes = await readBytes(store, key, options?.signal);
        const sha256 = createHash('sha256').update(bytes).digest('hex');
        const [, script, page] = ofAnyVersion.exec(key) ?? [];
        if (own.has(key) ? bytes.equals(Buffer.from(own.get(key) ?? '')) : sha256.startsWith(script ?? page ?? '-')) {
          return { bytes: bytes.length, sha256 };
        }
        throw new Failure('Corrupt', `${key} in ${store.name} is not what its name says: do not run it.`, {
          next: 'Find out who changed it.',
        });
      }),
  };
}
