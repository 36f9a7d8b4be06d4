import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** A text that lies beside the backups, under a name that carries its hash. */
export interface WayOutFile {
  name: string;
  text: string;
}

/** In the order in which they need each other. */
const modules = [
  'problem',
  'text',
  'xxh64',
  'zstd-tables',
  'zstd',
  'age',
  'sealed',
  'frames',
  'point',
  'manifest',
  'content',
  'inside',
  'linux',
  'tree',
  'dumps',
  'verify',
  'wal',
  'listing',
  'arguments',
  'main',
];

const head = `#!/usr/bin/env node
/*
 * Restores recovery points without the software that made them: one file, any Node.js from version 20, no packages.
 * Run it with --help. What it reads is specified in docs/format.md of backup-coordinator; RESTORE-….md tells how to begin.
 *
 * It opens no network connection and runs no program but mkfifo, mknod and setfattr.
 * Its name carries the first 12 digits of its SHA-256: sha256sum tells whether it is whole.
 *
 * Copyright the authors of backup-coordinator. Licensed under the Apache License, Version 2.0.
 */
`;

/**
 * The two files of the way out: the script, which is its modules one after the other, and the page that tells how to
 * use it. The same sources give the same bytes, and so the same names.
 */
export function assembleWayOut(): { script: WayOutFile; page: WayOutFile } {
  const sources = modules.map((name) => read(`${name}.mjs`));
  const bodies = modules.map(
    (name, i) => `\n// ── ${name} ${'─'.repeat(100 - name.length)}\n\n${bodyOf(sources[i] ?? '')}`,
  );
  const text = `${head}${importsOf(sources)}${bodies.join('')}`;
  const script = { name: `restore-${hashOf(text)}.mjs`, text };
  const page = read('RESTORE.md').replaceAll('restore.mjs', script.name);
  return { script, page: { name: `RESTORE-${hashOf(page)}.md`, text: page } };
}

function read(name: string): string {
  return readFileSync(path.join(import.meta.dirname, name), 'utf8');
}

const importStatement = /^import (?<what>\{[^}]*\}|\* as \w+) from '(?<from>[^']+)';\n/gm;

/** What all modules import from Node.js, each once. */
function importsOf(sources: string[]): string {
  const named = new Map<string, Set<string>>();
  const whole = new Set<string>();
  for (const { groups } of sources.flatMap((source) => [...source.matchAll(importStatement)])) {
    const { what = '', from = '' } = groups ?? {};
    if (from.startsWith('./')) continue;
    if (what.startsWith('*')) {
      whole.add(`import ${what} from '${from}';\n`);
      continue;
    }
    const names = named.get(from) ?? new Set();
    for (const name of what.slice(1, -1).split(',')) if (name.trim() !== '') names.add(name.trim());
    named.set(from, names);
  }
  const lines = [...named].map(([from, names]) => `import { ${[...names].sort().join(', ')} } from '${from}';\n`);
  return [...lines, ...whole].sort().join('');
}

/** A module without what ties it to the others. */
function bodyOf(source: string): string {
  return source
    .replaceAll(importStatement, '')
    .replaceAll(/^export (?=(async )?function|const|class)/gm, '')
    .replaceAll(/^\/\*\* @typedef \{import\(.*\n/gm, '')
    .replaceAll(/import\('\.\/[\w-]+\.mjs'\)\./g, '')
    .trimStart();
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
