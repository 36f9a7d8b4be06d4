import { rm } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { createPostgresInstance } from '../engine/sites/index.ts';
import { findTool } from '../scripts/stack/find.ts';
import { type BenchContext, costCells, costHead, factsOf, mib, phasesText, ratio, table } from './context.ts';
import { engineOn } from './engine.ts';
import { inTurn, measure } from './measure.ts';

/** A database that is not all compressible, by pg_dump, sealed and into S3: this project, and the plain pipeline. */
export async function benchDatabase(context: BenchContext, { scale }: { scale: number }): Promise<string> {
  const { dir, s3 } = context;
  const server = await createPostgresInstance({
    dataDir: path.join(dir, 'pg', 'data'),
    settings: { fsync: 'off', shared_buffers: '512MB' },
  });
  try {
    const bytes = await fill(server.uri(), scale);
    const engine = await engineOn(context, {
      name: 'bench',
      kind: 'postgres-logical',
      connection: { host: '127.0.0.1', port: server.port, database: 'bench', user: 'postgres' },
    });
    const { endpoint, accessKeyId, secretAccessKey } = s3;
    const age = await findTool('age');
    const put = new URL('./put-stream.ts', import.meta.url).pathname;
    const pipeline = `pg_dump -Fc -Z0 "$1" | zstd -3 -T0 -q | "$2" -r "$3" | "$4" "$5"`;
    const costs = await inTurn(context.rounds, {
      ours: () => engine.backup(),
      pipeline: async () => {
        await context.freshBucket('pipeline');
        const argv = ['bash', '-o', 'pipefail', '-c', pipeline, 'bash', server.uri('bench'), age, context.recipient];
        return context.counted(() =>
          measure({
            argv: [...argv, process.execPath, put],
            env: {
              BENCH_S3: JSON.stringify({ endpoint, accessKeyId, secretAccessKey, bucket: 'pipeline' }),
              PATH: `${server.binDir}:${process.env.PATH}`,
            },
          }),
        );
      },
    });
    const facts = factsOf(costs.ours);
    const stored = await context.storedIn('pipeline');
    return [
      `## PostgreSQL, logical: a database of ${mib(bytes)} MiB (dump ${mib(facts.sourceBytes ?? 0)} MiB), full, into an S3 server`,
      '',
      table(
        ['', ...costHead, 'stored MiB', 'our wall / its'],
        [
          ['this project', ...costCells(costs.ours), mib(facts.stored ?? 0), '1.00'],
          [
            '`pg_dump -Fc -Z0 \\| zstd -3 -T0 \\| age \\| S3 multipart`',
            ...costCells(costs.pipeline),
            mib(stored),
            ratio(costs.ours.wallS, costs.pipeline.wallS),
          ],
        ],
      ),
      '',
      `Of this project's backup: ${phasesText(facts)} The longest block of the event loop was ${facts.loopDelayMaxMs} ms. The pipeline's last step is bench/put-stream.ts, which does what \`aws s3 cp - s3://…\` does.`,
      '',
    ].join('\n');
  } finally {
    await server.destroy();
    await rm(path.join(dir, 'pg'), { recursive: true, force: true });
  }
}

/** pgbench's tables, and as much again in random bytes. Returns the database's size in bytes. */
async function fill(uri: string, scale: number): Promise<number> {
  const run = async (database: string, sql: string) => {
    const url = new URL(uri);
    url.pathname = `/${database}`;
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  };
  await run('postgres', 'CREATE DATABASE bench');
  await run(
    'bench',
    `CREATE TABLE accounts AS SELECT g AS aid, g / 100000 AS bid, (random() * 1e6)::int AS balance, md5(g::text) || repeat(' ', 52) AS filler
       FROM generate_series(1, ${scale} * 50000) g;
     CREATE TABLE noise AS SELECT g AS id, decode(string_agg(md5(random()::text), ''), 'hex') AS bytes
       FROM generate_series(1, ${scale} * 400) g, generate_series(1, 64 + g * 0) GROUP BY g;`,
  );
  const rows = await run('bench', 'SELECT pg_database_size(current_database()) AS bytes');
  return Number(rows[0].bytes);
}
