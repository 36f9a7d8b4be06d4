import { randomBytes } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { bundledWorkflows, workflowsEntry } from './workflow-bundle.ts';

/**
 * `bundle-workflows.ts --entry FILE --into FILE` bundles the workflows that a file exports. Without either it makes the
 * bundles of this version ready, for an image whose workers find them then.
 */
const { values } = parseArgs({ options: { entry: { type: 'string' }, into: { type: 'string' } } });

if (values.entry && values.into) {
  const { code } = await bundleWorkflowCode({ workflowsPath: values.entry, logger: new DefaultLogger('WARN') });
  // Of several at once the last one is kept: they are the same.
  const pending = `${values.into}.${randomBytes(6).toString('hex')}`;
  await writeFile(pending, code);
  await rename(pending, values.into);
} else {
  for (const pinned of [false, true]) await bundledWorkflows(workflowsEntry({ pinned }));
}
