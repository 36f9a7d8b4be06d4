import { serveCalls } from '../../side-thread-work.ts';
import { createTargetCalls } from './target-calls.ts';

/** The work of the thread that touches folders restored into: whatever hangs there, the main thread goes on. */
serveCalls(createTargetCalls());
