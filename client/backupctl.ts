import { run } from './run.ts';

process.exitCode = await run(process.argv.slice(2));
// Temporal's client and pools may hold the loop a little longer; all of them were closed.
process.exit();
