import { log, proxyActivities } from '@temporalio/workflow';
import type { StrainActivities } from '../activities/strain.ts';
import { queues } from '../policies/queues.ts';
import { messageOf } from './failure.ts';
import { patient } from './options.ts';

const { noteStrain } = proxyActivities<StrainActivities>({ ...patient, taskQueue: queues.coordination });

/**
 * Tells people why only critical sources get slots, and when everybody does again. Nobody waits for it: the catalog may be
 * away. What they know is told, so that a run that goes on in the place of this one tells the rest.
 *
 * @param known what they were told last
 */
export function createStrainNotes(known: string | null, onTold: (why: string | null) => void) {
  let last = known;
  let isTelling = false;

  return {
    say(why: string | null): void {
      if (isTelling || why === last) return;
      isTelling = true;
      noteStrain({ why }).then(
        () => {
          isTelling = false;
          last = why;
          onTold(why);
        },
        (error: unknown) => {
          // It is told with the next change.
          isTelling = false;
          log.warn('people could not be told of the strain', { error: messageOf(error) });
        },
      );
    },
  };
}
