// Jest runs TypeScript as ES modules: SWC strips the types, Node's own VM modules load the result.
const common = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2024' },
        module: { type: 'es6' },
      },
    ],
  },
  modulePathIgnorePatterns: ['<rootDir>/.data/', '<rootDir>/.cache/'],
};

export default {
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: ['<rootDir>/test/{policies,engine,client,scripts}/**/*.test.ts'],
      testPathIgnorePatterns: ['<rootDir>/test/engine/(catalog|keys|sources|stores)/', '-properties\\.test\\.ts$'],
    },
    {
      ...common,
      displayName: 'component',
      // Whole parts on a real disk with their threads, and properties over thousands of cases; no servers yet.
      testMatch: [
        '<rootDir>/test/{activities,engine/{catalog,keys,sources,stores}}/**/*.test.ts',
        '<rootDir>/test/**/*-properties.test.ts',
      ],
    },
    {
      ...common,
      displayName: 'workflow',
      // On Temporal's time-skipping server, each file with one of its own.
      testMatch: ['<rootDir>/test/workflows/**/*.test.ts'],
    },
    {
      ...common,
      displayName: 'integration',
      testMatch: ['<rootDir>/test/{integration,faults,interop}/**/*.test.ts'],
      // Real servers, started once for all files; test/support/services.ts hands them out.
      globalSetup: '<rootDir>/test/support/global-setup.ts',
      globalTeardown: '<rootDir>/test/support/global-teardown.ts',
    },
  ],
  testSequencer: '<rootDir>/test/support/sequencer.js',
  testTimeout: 120_000,
  maxWorkers: 2,
};
