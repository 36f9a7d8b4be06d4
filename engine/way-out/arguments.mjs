import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readIdentities } from './age.mjs';
import { messageOf } from './frames.mjs';
import { parseKey } from './point.mjs';
import { Problem } from './problem.mjs';

export const usage = `Restores recovery points from a folder of sealed files, without the software that made them.

  node restore.mjs list    STORE                          the recovery points in a store
  node restore.mjs list    STORE POINT  --identity FILE   what a point holds
  node restore.mjs verify  STORE [POINT]… --identity FILE read all of a point, or of every one; say what is wrong
  node restore.mjs restore STORE POINT  --identity FILE --into FOLDER [--only PATH]…
  node restore.mjs cat     STORE POINT PATH --identity FILE   one file of a point, to standard output
  node restore.mjs wal     STORE SOURCE --identity FILE --into FOLDER   PostgreSQL's write-ahead log, as segment files

STORE is the folder that holds SOURCE/ID/backup.json. POINT is an ID, or SOURCE/latest.

  --identity FILE   an age identity (AGE-SECRET-KEY-1…); may be given several times
  --key FILE        a point's key, as "age -d" prints it of key.1.age, in place of an identity
  --trusted KEY     a public signing key in base64: no point that another key signed is used
  --into FOLDER     is made, or empty
  --only PATH       a file or folder of the point; may be given several times

Exit codes: 0 done · 2 misused · 3 no such point or path · 4 the place to restore into cannot be used
            5 the store cannot be read · 6 damaged, or of another key · 9 restored, but for what is named`;

/** Null when only help was asked for. @param {string[]} argv */
export function readArguments(argv) {
  const list = /** @type {const} */ ({ type: 'string', multiple: true });
  const options = /** @type {const} */ ({
    identity: list,
    key: list,
    trusted: list,
    only: list,
    into: { type: 'string' },
    help: { type: 'boolean' },
  });
  let parsed;
  try {
    parsed = parseArgs({ args: argv, options, allowPositionals: true });
  } catch (error) {
    throw new Problem('usage', messageOf(error), 'node restore.mjs --help shows how it is used.');
  }
  const { values, positionals } = parsed;
  if (values.help) return null;
  const [command = '', store = '', ...rest] = positionals;
  /** How many words may follow the store. @type {Record<string, [number, number]>} */
  const words = { list: [0, 1], verify: [0, Number.POSITIVE_INFINITY], restore: [1, 1], cat: [2, 2], wal: [1, 1] };
  const allowed = words[command];
  const isWhole = allowed && store !== '' && rest.length >= allowed[0] && rest.length <= allowed[1];
  if (!isWhole || (['restore', 'wal'].includes(command) && !values.into)) throw new Problem('usage', usage);
  const keyring = {
    identities: (values.identity ?? []).flatMap((file) => readIdentities(readText(file), file)),
    keys: (values.key ?? []).map((file) => {
      const key = parseKey(readText(file));
      if (key) return key;
      throw new Problem('usage', `${file} holds no key: 64 hex digits.`);
    }),
  };
  return {
    command,
    store,
    rest,
    into: values.into ?? '',
    only: values.only ?? [],
    access: { store, trusted: values.trusted ?? [], keyring },
  };
}

/** @param {string} file */
function readText(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Problem('usage', `${file} cannot be read: ${messageOf(error)}.`);
  }
}
