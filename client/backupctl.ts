import { endProcess } from '../engine/end-process.ts';
import { run } from './run.ts';

await endProcess(await run(process.argv.slice(2)));
