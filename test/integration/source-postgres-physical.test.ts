import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describeSource } from '../engine/sources/conformance.ts';
import { fillCluster, makeCluster, usePostgresBinDirs } from './source-physical-fixture.ts';

const binDirs = await usePostgresBinDirs();

for (const [version, binDir] of Object.entries(binDirs)) {
  describeSource(`postgres-physical (PostgreSQL ${version})`, async () => {
    const cluster = await makeCluster(binDir);
    const empty = await makeCluster(binDir);
    await fillCluster(cluster);
    const place = () => path.join(mkdtempSync(path.join(cluster.dir, 'target-')), 'data');
    return {
      source: cluster.source(),
      contentFormat: 'pax-tar',
      empty: empty.source(),
      missing: cluster.source({ connection: { port: 1 } }),
      target: async () => place(),
      held: async (target) => (existsSync(target) ? readdirSync(target) : []),
      async occupied() {
        const into = place();
        mkdirSync(into);
        writeFileSync(path.join(into, 'precious'), 'x');
        return { into, name: 'precious' };
      },
      async alter(target) {
        const file = path.join(target, 'global', 'pg_filenode.map');
        const bytes = readFileSync(file);
        bytes[0] = (bytes[0] ?? 0) ^ 1;
        writeFileSync(file, bytes);
      },
      async remove() {
        await cluster.remove();
        await empty.remove();
      },
    };
  });
}
