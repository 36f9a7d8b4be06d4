import type { Context } from '../context.ts';
import { shortTime } from '../point-view.ts';
import { table } from '../table.ts';

export async function incidents(
  context: Context,
  { all, limit }: { all: boolean; limit: number },
): Promise<number | undefined> {
  const catalog = await context.catalog();
  const found = await catalog.incidents({ limit, ...(all ? {} : { open: true }) });
  context.out.result({ incidents: found }, () => {
    if (found.length === 0) return all ? 'There was never an incident.' : 'There is no open incident.';
    return table(
      ['severity', 'since', 'seen', 'what happened, and what to do'],
      found.map((i) => [
        i.severity,
        shortTime(i.openedAt),
        `${i.occurrences} ×, last\n${shortTime(i.lastSeenAt)}${i.resolvedAt ? `\nresolved\n${shortTime(i.resolvedAt)}` : ''}`,
        `${folded(i.summary)}\n→ ${folded(i.next)}`,
      ]),
    );
  });
  return undefined;
}

/** In lines of about 80 characters, cut between words. */
function folded(text: string): string {
  return text.replace(/(?=.{81})(.{1,80})\s+/g, '$1\n');
}
