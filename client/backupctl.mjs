#!/usr/bin/env node
// The `backupctl` command: installs what is missing, then goes on as backupctl.ts under the pinned Node.js.
import path from 'node:path';
import { root, runNode } from '../scripts/node.mjs';

process.exit(await runNode([path.join(root, 'client', 'backupctl.ts'), ...process.argv.slice(2)]));
