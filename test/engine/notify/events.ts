import type { NotificationEvent } from '../../../engine/notify/index.ts';

/** How a job ended, to tell people of. */
export function ended(outcome: NotificationEvent['outcome'], more: Partial<NotificationEvent> = {}): NotificationEvent {
  const good = outcome === 'succeeded';
  const stands = good || outcome === 'partial';
  return {
    workflowId: 'backup/shop/1',
    source: 'shop',
    level: 'full',
    pointId: stands ? 'shop-1' : null,
    outcome,
    startedAt: '2026-01-02T03:00:00.000Z',
    finishedAt: '2026-01-02T03:04:05.000Z',
    error: stands ? null : 'The disk <b>burns</b> & smokes',
    result: stands
      ? {
          sourceBytes: 3 * 1024 ** 3,
          storedBytes: 1024 ** 3,
          checksPassed: 5,
          copies: [
            { copy: 'disk', state: 'verified', error: null },
            good
              ? { copy: 'west', state: 'verified', error: null }
              : { copy: 'west', state: 'failed', error: 'bucket gone' },
          ],
          rule: {
            satisfied: good,
            copies: good ? 3 : 2,
            media: ['disk'],
            offsiteRegions: good ? ['us-west-2'] : [],
            encrypted: true,
            breaches: good ? [] : ['no copy off-site'],
          },
          warnings: [],
        }
      : null,
    leftovers: { staging: false, copies: [] },
    ...more,
  };
}
