import { TestWorkflowEnvironment } from '@temporalio/testing';
import { findTestServer } from '../../scripts/stack/find.ts';

/** The SDK gives the server five seconds to start, which Java on a busy machine may not keep. */
const attempts = 8;

/** A Temporal server of this test's own whose clock jumps ahead while workflows wait. Call `teardown()` when done. */
export async function createTimeSkipping(): Promise<TestWorkflowEnvironment> {
  const path = await findTestServer();
  for (let attempt = 1; ; attempt++) {
    try {
      return await TestWorkflowEnvironment.createTimeSkipping({
        server: { executable: { type: 'existing-path', path } },
      });
    } catch (error) {
      if (attempt === attempts || !/did not start within/.test(String(error))) throw error;
    }
  }
}
