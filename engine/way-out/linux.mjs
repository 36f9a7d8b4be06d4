import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';

/** What Node.js cannot do by itself, by the commands that nearly every Linux has: mkfifo, mknod, setfattr. */

/** @typedef {import('./manifest.mjs').Entry} Entry */

/** What could not be brought back: how much of each kind, and one example. */
export class Tally {
  /** @type {Map<string, { count: number, example: string }>} */
  kinds = new Map();

  /** @param {string} kind @param {string} example */
  add(kind, example) {
    const known = this.kinds.get(kind) ?? { count: 0, example };
    known.count++;
    this.kinds.set(kind, known);
  }

  lines() {
    return [...this.kinds].map(([kind, { count, example }]) => `${kind}: ${count} (such as ${example})`);
  }
}

/**
 * Makes a fifo or a device node; returns why not, or null. Commands take no names that are not UTF-8, so it is made
 * under another one and renamed.
 *
 * @param {string} root a folder on the same file system @param {Buffer} file @param {Entry} entry
 */
export function makeNode(root, file, { type, device }) {
  const scratch = join(root, `.restoring-${randomBytes(8).toString('hex')}`);
  const [major, minor] = device.map(String);
  const [program, ...args] =
    type === 'fifo' ? ['mkfifo', '--', scratch] : ['mknod', '--', scratch, type === 'char' ? 'c' : 'b', major, minor];
  const { status, error, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) return error ? `${program} is missing here` : (stderr.trim().split('\n').at(-1) ?? program);
  renameSync(scratch, file);
  return null;
}

const batchBytes = 1024 * 1024;

/** Sets extended attributes by `setfattr --restore`, many files at a time. */
export class Attributes {
  /** @param {string} root @param {Tally} tally */
  constructor(root, tally) {
    this.root = root;
    this.tally = tally;
    /** @type {string[]} */
    this.lines = [];
    this.length = 0;
    this.files = 0;
    this.available = spawnSync('setfattr', ['--version']).status === 0;
  }

  /** @param {Buffer} path relative to the root @param {Record<string, Buffer>} xattrs @param {string} name for messages */
  add(path, xattrs, name) {
    const names = Object.keys(xattrs);
    if (names.length === 0) return;
    if (!this.available) {
      for (const _ of names) this.tally.add('extended attributes, for setfattr is missing here', name);
      return;
    }
    const lines = [`# file: ${path.length === 0 ? '.' : escaped(path)}`];
    for (const [attribute, value] of Object.entries(xattrs))
      lines.push(`${escaped(Buffer.from(attribute))}=${value.length === 0 ? '""' : `0s${value.toString('base64')}`}`);
    const text = `${lines.join('\n')}\n\n`;
    this.lines.push(text);
    this.length += text.length;
    if (this.length >= batchBytes) this.flush();
  }

  flush() {
    if (this.lines.length === 0) return;
    const input = this.lines.join('');
    this.lines = [];
    this.length = 0;
    const args = ['-h', '--restore=-'];
    const { status, stderr } = spawnSync('setfattr', args, {
      cwd: this.root,
      input,
      encoding: 'utf8',
      maxBuffer: 64 * batchBytes,
    });
    if (status === 0) return;
    // It goes on after a file that cannot have an attribute, and names each.
    for (const line of stderr.split('\n').filter((l) => l !== ''))
      this.tally.add('extended attributes that were refused', line);
  }
}

/** As setfattr reads names: whatever is not plain in octal. @param {Buffer} bytes */
function escaped(bytes) {
  return bytes
    .toString('latin1')
    .replaceAll(/[^A-Za-z0-9_./-]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}
