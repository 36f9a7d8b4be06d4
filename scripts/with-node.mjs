// `node with-node.mjs SCRIPT ARGS…`: runs a script under the pinned Node.js, installed first when it is missing.
import { runNode } from './node.mjs';

process.exit(await runNode(process.argv.slice(2)));
