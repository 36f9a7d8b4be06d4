import { findPoints, readPoint } from './point.mjs';
import { exitCodes, Problem } from './problem.mjs';
import { print, printable, say, size, table } from './text.mjs';

/** Which points there are, and what one holds. */

/** @typedef {import('./content.mjs').OpenPoint} OpenPoint */
/** @typedef {import('./point.mjs').Point} Point */

/** The point that is meant. @param {string} store @param {string} wanted @param {string[]} trusted @returns {Point} */
export function choose(store, wanted, trusted) {
  const [first, second] = wanted.split('/');
  const found = [...findPoints(store)];
  if (second === 'latest') {
    const points = found.filter((f) => f.source === first).flatMap((f) => readable(store, f, trusted) ?? []);
    const latest = points.sort((a, b) => Date.parse(b.backup.capturedAt) - Date.parse(a.backup.capturedAt))[0];
    if (latest) return latest;
  }
  const match = found.find((f) => f.id === wanted || `${f.source}/${f.id}` === wanted);
  if (match) return readPoint(store, match.source, match.id, trusted);
  throw new Problem(
    'unknown',
    `There is no recovery point ${printable(wanted)} in ${store}.`,
    'The command list shows those that there are.',
  );
}

/** @param {string} store @param {{ source: string, id: string }} found @param {string[]} trusted */
function readable(store, { source, id }, trusted) {
  try {
    return readPoint(store, source, id, trusted);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    say(`not used: ${error.message}`);
    return null;
  }
}

/** @param {string} store @param {string[]} trusted */
export function listPoints(store, trusted) {
  const rows = [['POINT', 'KIND', 'LEVEL', 'CAPTURED', 'ENTRIES', 'CONTENT', 'SIGNED']];
  let bad = 0;
  for (const found of findPoints(store)) {
    const point = readable(store, found, trusted);
    if (!point) bad++;
    else {
      const { source, id, level, capturedAt, content } = point.backup;
      const name = id.startsWith(`${source.name}-`) ? id : point.name;
      const signed = point.confirmed ? 'by a trusted key' : `by ${point.backup.signature.publicKey}`;
      rows.push([
        name,
        printable(source.kind),
        printable(level),
        printable(capturedAt),
        String(content.entries),
        size(content.sourceBytes),
        printable(signed),
      ]);
    }
  }
  if (rows.length === 1 && bad === 0)
    throw new Problem(
      'unknown',
      `${store} holds no recovery points.`,
      'Name the folder that holds SOURCE/ID/backup.json.',
    );
  print(table(rows, [4, 5]));
  return bad > 0 ? exitCodes.damage : 0;
}

const letters = { file: '-', directory: 'd', symlink: 'l', hardlink: 'h', fifo: 'p', char: 'c', block: 'b' };

/** @param {OpenPoint} open */
export function listEntries(open) {
  /** @type {import('./manifest.mjs').Entry | null} */
  let entry = null;
  let bytes = 0;
  const finish = () => {
    if (!entry) return;
    const time = new Date(Number(entry.mtimeNs / 1_000_000n));
    const when = Number.isNaN(time.valueOf()) ? '?' : time.toISOString().slice(0, 19);
    const link =
      entry.type === 'symlink'
        ? ` -> ${printable(entry.link)}`
        : entry.type === 'hardlink'
          ? ` = ${printable(entry.link)}`
          : '';
    const owner = `${printable(entry.user || String(entry.uid))}:${printable(entry.group || String(entry.gid))}`;
    const mode = letters[entry.type] + entry.mode.toString(8).padStart(4, '0');
    print(
      `${mode} ${owner.padEnd(17)} ${String(entry.streamed ? bytes : entry.size).padStart(13)} ${when} ${printable(entry.path) || '.'}${link}`,
    );
  };
  for (const item of open.items()) {
    if (item.kind === 'block') bytes += item.block.bytes;
    if (item.kind !== 'entry') continue;
    finish();
    entry = item.entry;
    bytes = 0;
  }
  finish();
  return 0;
}
