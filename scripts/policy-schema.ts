import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { policyJsonSchemaText } from '../policies/json-schema.ts';

/** `npm run policy-schema`: writes policies/policy.schema.json anew, after a change to policies/policy.ts. */

const file = path.join(import.meta.dirname, '..', 'policies', 'policy.schema.json');
await writeFile(file, policyJsonSchemaText());
process.stdout.write(`${file}\n`);
