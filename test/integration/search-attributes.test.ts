import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Connection } from '@temporalio/client';
import { searchAttributeNames, unknownAttributes } from '../../policies/search-attributes.ts';
import { ensureSearchAttributes } from '../../workers/search-attributes.ts';
import { services, uniqueName } from '../support/services.ts';

let connection: Connection;

beforeAll(async () => {
  const { temporal } = await services();
  connection = await Connection.connect({ address: temporal.address });
});
afterAll(() => connection?.close());

/** A namespace as a server has it that knows nothing of us. */
async function makeNamespace(): Promise<string> {
  const namespace = uniqueName('bare-');
  const retention = { workflowExecutionRetentionPeriod: { seconds: 86_400 as never } };
  await connection.workflowService.registerNamespace({ namespace, ...retention });
  const isThere = () =>
    unknownIn(namespace).then(
      () => true,
      (error: { code?: number }) => error.code !== 5,
    );
  while (!(await isThere())) await setTimeout(200);
  return namespace;
}

const unknownIn = (namespace: string) =>
  unknownAttributes((query) => connection.workflowService.countWorkflowExecutions({ namespace, query }));

test('a coordination worker registers the search attributes that the server lacks, and leaves those it has', async () => {
  const namespace = await makeNamespace();
  expect(await unknownIn(namespace)).toEqual(searchAttributeNames);
  await Promise.all([ensureSearchAttributes(connection, namespace), ensureSearchAttributes(connection, namespace)]);
  while ((await unknownIn(namespace)).length > 0) await setTimeout(200);
  await ensureSearchAttributes(connection, namespace);
});

test('an attribute that is there with another type is named, for no job could set it', async () => {
  const namespace = await makeNamespace();
  await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: { BackupClass: 2 } });
  const known = async () => (await unknownIn(namespace)).length < searchAttributeNames.length;
  while (!(await known())) await setTimeout(200);
  await expect(ensureSearchAttributes(connection, namespace)).rejects.toMatchObject({
    type: 'TemporalUnreachable',
    message: expect.stringContaining('BackupClass is there with another type than KEYWORD_LIST'),
    next: expect.stringContaining('--name BackupClass --type KeywordList'),
  });
});
