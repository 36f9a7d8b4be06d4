// `npm start`: installs what is missing, then goes on as start.ts under the pinned Node.js.
import path from 'node:path';
import { root, runNode } from './node.mjs';

process.exit(await runNode([path.join(root, 'scripts', 'start.ts'), ...process.argv.slice(2)]));
