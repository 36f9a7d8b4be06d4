import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { setMtime } from '../../../engine/file-times.ts';
import { makeNode, setXattr } from '../../../engine/sources/files/posix.ts';
import { noise } from '../artifact/sealing.ts';

const mebibyte = 1024 * 1024;

/** Fills a new folder with one of everything that file systems hold and backups lose. */
export function makeNastyTree(root: string): void {
  const at = (name: string | Buffer) => Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name)]);
  const file = (name: string | Buffer, content: Uint8Array | string = 'x') => writeFileSync(at(name), content);
  mkdirSync(root, { recursive: true });

  for (const [name, bytes] of Object.entries({
    'size 0': 0,
    'size 511': 511,
    'size 512': 512,
    'size 513': 513,
    'size 1M-1': mebibyte - 1,
    'size 1M': mebibyte,
    'size 1M+1': mebibyte + 1,
    'size 4M-1': 4 * mebibyte - 1,
    'size 4M': 4 * mebibyte,
    'size 4M+1': 4 * mebibyte + 1,
  })) {
    file(name, noise(bytes + 4, bytes + 1).subarray(0, bytes));
  }

  file(Buffer.from([0x66, 0xff, 0xfe, 0x80]), 'no UTF-8');
  file('ünï→ 漢字', 'UTF-8');
  file('new\nline \\ "quoted" \'too\' *?[x]');
  file('-rf');
  file(' leading and trailing ');
  file('n'.repeat(255), 'long');
  const deep = Array.from({ length: 3 }, (_, i) => String(i).repeat(100)).join('/');
  mkdirSync(at(deep), { recursive: true });
  file(`${deep}/${'f'.repeat(120)}`, 'deep');
  file(`${'0'.repeat(100)}a`, 'one hundred and one');
  // Where plain byte order and the order of segments differ.
  mkdirSync(at('order'));
  file('order/in', '1');
  file('order-', '2');
  file('order.', '3');

  mkdirSync(at('empty folder'));
  mkdirSync(at('locked'));
  file('locked/inside');
  chmodSync(at('locked'), 0o000);
  mkdirSync(at('shared'), 0o777);
  chmodSync(at('shared'), 0o3777);
  for (const mode of [0o4755, 0o2755, 0o6711, 0o000, 0o400, 0o666]) {
    file(`mode ${mode.toString(8)}`, 'm');
    chmodSync(at(`mode ${mode.toString(8)}`), mode);
  }

  file('hard 1', 'linked');
  linkSync(at('hard 1'), at('hard 2'));
  linkSync(at('hard 1'), at(`order/${'h'.repeat(150)}`));
  file('hard empty', '');
  linkSync(at('hard empty'), at('hard empty too'));
  symlinkSync('hard 1', at('link'));
  symlinkSync('../nowhere/at all', at('dangling'));
  symlinkSync('/'.padEnd(300, 'x'), at('long link'));
  symlinkSync(Buffer.from([0x2e, 0x2f, 0xff]), at('link without UTF-8'));
  linkSync(at('link'), at('link of link'));
  makeNode(at('fifo'), 'fifo', 0o640, { major: 0, minor: 0 });

  const sparse = openSync(at('sparse'), 'w');
  ftruncateSync(sparse, 9 * mebibyte);
  writeSync(sparse, 'island', 5 * mebibyte + 123);
  closeSync(sparse);
  const hole = openSync(at('all hole'), 'w');
  ftruncateSync(hole, 3 * mebibyte + 7);
  closeSync(hole);

  setXattr(at('-rf'), 'user.comment', Buffer.from('with = and \n and \0 within'));
  setXattr(at('-rf'), 'user.empty', Buffer.alloc(0));
  setXattr(at('empty folder'), 'user.folder', Buffer.from([0, 255, 10]));
  execFileSync('setfacl', ['-m', 'u:12345:rx,g:54321:r', at('ünï→ 漢字').toString()]);
  execFileSync('setfacl', ['-d', '-m', 'u:12345:rwx', at('empty folder').toString()]);

  setMtime(at('size 512'), '1234567890123456789');
  setMtime(at('size 513'), '-1500000000');
  utimesSync(at('size 511'), 0, 0);
  lutimesSync(at('link'), 1_000_000_000, 1_000_000_000);
  setMtime(at('dangling'), '1000000000000000001');
  setMtime(at('order'), '1111111111000000000');
}

/** What only root can make. */
export function makeRootsTree(root: string): void {
  execFileSync('chown', ['-h', '12345:54321', `${root}/dangling`, `${root}/size 512`, `${root}/empty folder`]);
  execFileSync('chown', ['3000000:4000000', `${root}/size 1M`]);
  makeNode(Buffer.from(`${root}/null`), 'char', 0o666, { major: 1, minor: 3 });
  makeNode(Buffer.from(`${root}/disk`), 'block', 0o660, { major: 259, minor: 70_000 });
  setXattr(Buffer.from(`${root}/mode 4755`), 'trusted.note', Buffer.from('root sees it'));
}
