import { describe, expect, test } from '@jest/globals';
import { connectionFromUri, libpqEnvironment } from '../../../engine/sources/postgres/connection.ts';
import { rolesNamedIn, rolesOf } from '../../../engine/sources/postgres-logical/globals.ts';
import { compareObjects, objectsOf } from '../../../engine/sources/postgres-logical/objects.ts';
import { splitStatements } from '../../../engine/sources/postgres-logical/statements.ts';
import { Failure } from '../../../policies/failure.ts';

describe('an SQL script', () => {
  test('is cut at the semicolons that end statements, and at no other', () => {
    const script = `-- a comment; with one
\\restrict abc
CREATE ROLE "a;b";
COMMENT ON ROLE x IS 'it''s; -- not a comment';
/* nor; this */ ALTER ROLE x SET a = E'\\';';
CREATE FUNCTION f() AS $body$ SELECT 1; $x$ ; $x$ $body$;
\\connect other
SELECT 1`;
    expect(splitStatements(script)).toEqual([
      'CREATE ROLE "a;b"',
      `COMMENT ON ROLE x IS 'it''s; -- not a comment'`,
      `ALTER ROLE x SET a = E'\\';'`,
      'CREATE FUNCTION f() AS $body$ SELECT 1; $x$ ; $x$ $body$',
      'SELECT 1',
    ]);
  });

  test('of globals names the roles it creates', () => {
    const globals = `CREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER;\nCREATE ROLE app;\nCREATE ROLE "My ""Role""";\n`;
    expect(rolesOf(globals)).toEqual(['app', 'My "Role"']);
  });

  test('of a schema names the roles it needs', () => {
    const schema = `
ALTER TABLE public.t OWNER TO "the; owner";
ALTER FUNCTION public.f(a integer, b text) OWNER TO func;
REVOKE ALL ON TABLE public.t FROM revoked;
GRANT SELECT,INSERT ON TABLE public.t TO granted WITH GRANT OPTION;
GRANT ALL ON SCHEMA public TO PUBLIC;
CREATE POLICY p ON public.t FOR SELECT TO one, "Two, too" USING ((id > 0)) WITH CHECK ((id > 1));
CREATE POLICY q ON public.t USING (true);
ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT SELECT ON TABLES TO taker;
CREATE USER MAPPING FOR mapped SERVER s OPTIONS (user 'x');
ALTER TABLE public.u OWNER TO postgres;
GRANT pg_read_all_data TO pg_monitor;`;
    expect(rolesNamedIn(schema).sort()).toEqual(
      ['Two, too', 'func', 'granted', 'maker', 'mapped', 'one', 'revoked', 'taker', 'the; owner'].sort(),
    );
  });
});

describe('the list of a dump', () => {
  const list = `;
; Archive created at 2026-01-01 00:00:00 UTC
;
216; 1259 16386 TABLE public plain owner
3400; 0 0 ACL public TABLE plain owner
3401; 0 16386 TABLE DATA public plain owner
3402; 0 0 SEQUENCE SET public odd owner
3403; 1262 16385 DATABASE - shop owner
3404; 0 0 COMMENT - DATABASE shop owner
3405; 0 0 ACL - SCHEMA public pg_database_owner
3406; 2613 4711 BLOB - 4711 owner
3407; 0 0 COMMENT - LARGE OBJECT 4711 owner
5; 3079 16400 EXTENSION - pg_trgm 
3408; 0 0 COMMENT - EXTENSION pg_trgm 
217; 1255 16387 FUNCTION public f(integer, text) owner
`;

  test('names the objects of the schema, and neither data nor what belongs to the database as such', () => {
    expect([...objectsOf(list)]).toEqual([
      'TABLE public plain',
      'ACL public TABLE plain',
      'EXTENSION - pg_trgm',
      'FUNCTION public f(integer, text)',
    ]);
  });

  test('is compared by name both ways', () => {
    expect(
      compareObjects(new Set(['TABLE public a', 'VIEW public v']), new Set(['TABLE public a', 'INDEX public i'])),
    ).toEqual(['VIEW public v was not restored', 'INDEX public i is there but not in the dump']);
  });
});

describe("a target's URI", () => {
  test('is read with everything in it', () => {
    expect(connectionFromUri('postgresql://us%40er:p%2Fw%20d@db.example:6432/my%20db?sslmode=verify-full')).toEqual({
      host: 'db.example',
      port: 6432,
      database: 'my db',
      user: 'us@er',
      password: 'p/w d',
      sslmode: 'verify-full',
    });
    expect(connectionFromUri('postgres://[::1]/x')).toMatchObject({
      host: '::1',
      port: 5432,
      user: 'postgres',
      sslmode: 'prefer',
    });
    expect(connectionFromUri('postgresql:///x?host=/run/postgresql&user=me')).toMatchObject({
      host: '/run/postgresql',
      user: 'me',
      database: 'x',
    });
  });

  test.each([
    'shop',
    'mysql://h/x',
    'postgresql:///x',
    'postgresql://h/x?sslmode=maybe',
    'postgresql://u:secret@[bad/x',
    'postgresql://u:sec%ret@h/x',
  ])('is refused without being repeated: %s', (uri) => {
    expect(() => connectionFromUri(uri)).toThrow(Failure);
    try {
      connectionFromUri(uri);
    } catch (error) {
      expect((error as Error).cause).toBeUndefined();
      expect(error).toMatchObject({
        type: 'UsageInvalid',
        message: expect.not.stringContaining('sec'),
      });
    }
  });

  test("goes to the tools by environment, with settings that make a row's text the same everywhere", () => {
    const env = libpqEnvironment(connectionFromUri('postgresql://u:pw@h/x'));
    expect(env).toMatchObject({ PGHOST: 'h', PGUSER: 'u', PGDATABASE: 'x', PGPASSWORD: 'pw', PGTZ: 'UTC' });
    expect(libpqEnvironment(connectionFromUri('postgresql://u@h/x'))).not.toHaveProperty('PGPASSWORD');
  });
});
