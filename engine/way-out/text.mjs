/** What is printed, and how things of others are kept from playing tricks with a terminal or a shell. */

/**
 * A name as it may stand on a terminal: what is invisible there as \xNN, of names that are no UTF-8 every strange byte.
 *
 * @param {Uint8Array | string} name
 */
export function printable(name) {
  const bytes = Buffer.from(name);
  const text = bytes.toString('utf8');
  const isText = Buffer.from(text).equals(bytes);
  return (isText ? text : bytes.toString('latin1')).replaceAll(
    isText ? /[\p{C}\p{Zl}\p{Zp}\\]/gu : /[^ -[\]-~]/g,
    (c) => {
      const code = (c.codePointAt(0) ?? 0).toString(16);
      if (c === '\\') return '\\\\';
      return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, '0')}`;
    },
  );
}

/** One argument for a shell; bash, where it holds what a terminal must not see. @param {string} text */
export function shellWord(text) {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  if (!/[\p{C}\p{Zl}\p{Zp}]/u.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  const bytes = [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`);
  return `$'${bytes.join('')}'`;
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** @param {string[][]} rows the first one has the titles @param {number[]} [right] columns that are set to the right */
export function table(rows, right = []) {
  const widths = rows[0].map((_, i) => rows.reduce((most, row) => Math.max(most, row[i].length), 0));
  const cell = (/** @type {string} */ text, /** @type {number} */ i) =>
    right.includes(i) ? text.padStart(widths[i]) : text.padEnd(widths[i]);
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n');
}

/** @param {string} line */
export const print = (line) => process.stdout.write(`${line}\n`);
/** @param {string} line */
export const say = (line) => process.stderr.write(`${line}\n`);

/** A line that is written over, on a terminal only. @param {string} what @param {number} total */
export function createProgress(what, total) {
  let done = 0;
  let shownAt = 0;
  const clear = () => {
    if (shownAt > 0) process.stderr.write('\r\x1b[K');
    shownAt = 0;
  };
  return {
    clear,
    done: () => done,
    /** @param {number} bytes */
    add(bytes) {
      done += bytes;
      if (!process.stderr.isTTY || Date.now() - shownAt < 500) return;
      shownAt = Date.now();
      process.stderr.write(`\r\x1b[K${what} ${size(done)}${total > 0 ? ` of ${size(total)}` : ''}`);
    },
  };
}
