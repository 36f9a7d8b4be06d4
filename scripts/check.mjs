// `npm run check`: installs what is missing, then goes on as check.ts under the pinned Node.js.
import path from 'node:path';
import { root, runNode } from './node.mjs';

process.exit(await runNode([path.join(root, 'scripts', 'check.ts'), ...process.argv.slice(2)], { cwd: root }));
