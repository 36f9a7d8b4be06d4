import { flushCompileCache } from 'node:module';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const exit = libc.func('void _exit(int status)');

/**
 * Ends this process once what it said has been taken, or nobody is there to take it. `process.exit` would lose what a
 * pipe does not take at once, and wait for threads in calls that do not return, e.g. of a mount whose server went away.
 */
export async function endProcess(status: number): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) {
    const taken = Promise.withResolvers<void>();
    stream.once('error', () => taken.resolve());
    stream.write('', () => taken.resolve());
    await taken.promise;
  }
  // What Node.js would do at its end.
  flushCompileCache();
  exit(status);
  throw new Error('the process goes on after its end');
}
