import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';

/** Data to show the main job on, for people who have named none of their own. */

export const sampleDatabase = 'shop';

/** Makes the database `shop` (customers, products, orders) when it is not there. @param uri of the server's `postgres` database */
export async function makeSampleDatabase(uri: string): Promise<void> {
  const server = new pg.Client({ connectionString: uri });
  await server.connect();
  try {
    const { rowCount } = await server.query('SELECT FROM pg_database WHERE datname = $1', [sampleDatabase]);
    if (rowCount) return;
    await server.query(`CREATE DATABASE ${sampleDatabase}`);
  } finally {
    await server.end();
  }
  const url = new URL(uri);
  url.pathname = `/${sampleDatabase}`;
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    await client.query(sampleSchema);
  } finally {
    await client.end();
  }
}

const sampleSchema = `
  BEGIN;
  CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, email text UNIQUE, since date NOT NULL);
  CREATE TABLE products (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, price numeric(10, 2) NOT NULL, details jsonb NOT NULL);
  CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id int NOT NULL REFERENCES customers,
                       placed_at timestamptz NOT NULL, note text);
  CREATE TABLE order_lines (order_id bigint NOT NULL REFERENCES orders, line int NOT NULL, product_id int NOT NULL REFERENCES products,
                            quantity int NOT NULL, PRIMARY KEY (order_id, line));
  INSERT INTO customers (name, email, since)
    SELECT 'Customer ' || g, 'customer' || g || '@example.com', date '2020-01-01' + g % 2000 FROM generate_series(1, 20000) g;
  INSERT INTO products (title, price, details)
    SELECT 'Product ' || g, (g * 37 % 9999) / 100.0 + 1, jsonb_build_object('weight', g % 500, 'code', md5(g::text)) FROM generate_series(1, 2000) g;
  INSERT INTO orders (customer_id, placed_at, note)
    SELECT 1 + g % 20000, timestamptz '2026-01-01 00:00Z' + g * interval '97 seconds', CASE WHEN g % 7 = 0 THEN md5(g::text) END FROM generate_series(1, 100000) g;
  INSERT INTO order_lines SELECT 1 + g / 3, 1 + g % 3, 1 + g % 2000, 1 + g % 9 FROM generate_series(0, 299999) g;
  CREATE INDEX orders_by_customer ON orders (customer_id);
  CREATE VIEW turnover AS SELECT o.customer_id, sum(l.quantity * p.price) AS total
    FROM orders o JOIN order_lines l ON l.order_id = o.id JOIN products p ON p.id = l.product_id GROUP BY 1;
  COMMENT ON TABLE orders IS 'sample data of backup-coordinator';
  COMMIT;`;

/** Makes a small tree of documents, logs and links when the folder is absent or empty. */
export async function makeSampleTree(root: string): Promise<void> {
  await mkdir(root, { recursive: true });
  if ((await readdir(root)).length > 0) return;
  for (let i = 0; i < 40; i++) {
    const dir = path.join(root, 'documents', `year-${2017 + (i % 10)}`);
    await mkdir(dir, { recursive: true });
    for (let j = 0; j < 25; j++) {
      const text = `Document ${i}-${j}\n${'All work and no backup makes a dull day. '.repeat(5 + ((i * 31 + j * 17) % 200))}\n`;
      await writeFile(path.join(dir, `document-${i}-${j}.txt`), text);
    }
  }
  await mkdir(path.join(root, 'logs'));
  for (let i = 0; i < 4; i++) {
    const lines = Array.from(
      { length: 40_000 },
      (_, n) => `2026-11-${10 + i}T10:${n % 60} GET /orders/${(n * 7919) % 100_000} 200 ${n % 311} ms`,
    );
    await writeFile(path.join(root, 'logs', `access-${i}.log`), lines.join('\n'));
  }
  await mkdir(path.join(root, 'documents', 'empty'));
  await symlink('documents/year-2026', path.join(root, 'current'));
}
