// The arrows of ARCHITECTURE.md: policies ← engine ← activities ← workers, and policies ← workflows ← client.
// Three things are left out here: workflows/contracts.ts (plain types that activities and client share), the launcher
// client/backupctl.mjs, and whether an import is of types only, which scripts/check.ts looks at.
const rooms = ['policies', 'engine', 'activities', 'workflows', 'workers', 'client', 'scripts', 'test', 'bench'];

/** A room may import itself and the rooms that are named; nothing else of ours. */
const only = (room, allowed, comment) => ({
  name: `${room}-imports`,
  comment,
  severity: 'error',
  from: { path: `^${room}/`, pathNot: '^client/backupctl[.]mjs$' },
  to: {
    path: `^(${rooms.filter((other) => other !== room && !allowed.includes(other)).join('|')})/`,
    pathNot: '^workflows/contracts[.]ts$',
  },
});

/** A room that must not know a package. */
const without = (room, packages, comment) => ({
  name: `${room}-without-${packages[0].replaceAll(/[^a-z]/g, '')}`,
  comment,
  severity: 'error',
  from: { path: `^${room}/` },
  to: { path: packages.map((name) => `node_modules/${name}`).join('|') },
});

module.exports = {
  forbidden: [
    {
      name: 'contracts-are-for-those-who-talk-to-workflows',
      severity: 'error',
      from: { path: '^(policies|engine)/' },
      to: { path: '^workflows/' },
    },
    only('policies', [], 'Pure rules: they know nothing of the rest.'),
    only('engine', ['policies'], 'What moves bytes knows rules, and nothing of workflows.'),
    only('activities', ['engine', 'policies'], 'One engine call each.'),
    only('workflows', ['policies', 'activities'], 'The order of things.'),
    only('workers', ['activities', 'workflows', 'engine', 'policies'], 'The composition root.'),
    only(
      'client',
      ['workflows', 'policies', 'engine'],
      'The engine: only where a command reads stores, keys or the catalog in its own process.',
    ),
    {
      name: 'policies-without-io',
      comment: 'Policies are pure: no file, no socket, no process.',
      severity: 'error',
      from: { path: '^policies/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'the-way-out-stands-alone',
      comment: 'The script that restores without this software needs nothing but Node.js.',
      severity: 'error',
      from: { path: '^engine/way-out/.*[.]mjs$' },
      to: { pathNot: '^engine/way-out/.*[.]mjs$', dependencyTypesNot: ['core'] },
    },
    without('(engine|policies)', ['@temporalio/'], 'The engine knows nothing of Temporal.'),
    {
      name: 'nothing-imports-tests',
      severity: 'error',
      from: { pathNot: '^(test|bench)/' },
      to: { path: '^(test|bench)/' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'declared',
      comment: 'What production code imports stands in package.json under dependencies.',
      severity: 'error',
      from: { path: '^(policies|engine|activities|workflows|workers|client)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.json', '.cjs', '.mjs'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
