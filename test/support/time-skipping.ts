import { TestWorkflowEnvironment } from '@temporalio/testing';
import { findTestServer } from '../../scripts/stack/find.ts';

/** A Temporal server of this test's own whose clock jumps ahead while workflows wait. Call `teardown()` when done. */
export async function createTimeSkipping(): Promise<TestWorkflowEnvironment> {
  const path = await findTestServer();
  return TestWorkflowEnvironment.createTimeSkipping({ server: { executable: { type: 'existing-path', path } } });
}
