import { Failure } from '../policies/failure.ts';

/** Who asks, and why. Throws NotHumanTriggered where either is missing: the record must say it. */
export function namedPerson(
  { operator, reason }: { operator?: string; reason?: string },
  command: string,
): { operator: string; reason: string } {
  const who = operator?.trim() ?? '';
  const why = reason?.trim() ?? '';
  if (who !== '' && why !== '') return { operator: who, reason: why };
  const missing = [...(who === '' ? ['--operator NAME'] : []), ...(why === '' ? ['--reason TEXT'] : [])].join(' and ');
  throw new Failure(
    'NotHumanTriggered',
    `This is for a person to ask for, with name and reason: ${missing} is missing.`,
    {
      next: `${command} --operator NAME --reason TEXT`,
    },
  );
}
