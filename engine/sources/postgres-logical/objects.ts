/** Data, and what only exists on the way into a database or belongs to the database as such, is in no schema-only dump. */
const notSchema =
  /^(TABLE DATA|SEQUENCE SET|BLOBS?|BLOB METADATA|LARGE OBJECTS?|MATERIALIZED VIEW DATA|STATISTICS DATA|DATABASE|DATABASE PROPERTIES) |^(ACL|COMMENT|SECURITY LABEL) - (LARGE OBJECTS?|DATABASE) |(^SCHEMA - |SCHEMA )public( |$)|^COMMENT - EXTENSION /;

/** `pg_restore --list` lines as "KIND schema name", without numbers and owner, but for what is no part of a schema. */
export function objectsOf(list: string): Set<string> {
  const objects = new Set<string>();
  for (const line of list.split('\n')) {
    const what = /^\d+; \d+ \d+ (.+) \S*$/.exec(line)?.[1];
    if (what && !notSchema.test(what)) objects.add(what);
  }
  return objects;
}

/** What differs, in words. */
export function compareObjects(wanted: Set<string>, there: Set<string>): string[] {
  return [
    ...[...wanted].filter((o) => !there.has(o)).map((o) => `${o} was not restored`),
    ...[...there].filter((o) => !wanted.has(o)).map((o) => `${o} is there but not in the dump`),
  ];
}
