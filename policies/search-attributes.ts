/** Temporal's custom search attributes that our workflows set, and their types: what jobs can be listed by. */
export const searchAttributes = {
  BackupSource: 'KEYWORD',
  BackupLevel: 'KEYWORD',
  /** One backup may carry several classes. */
  BackupClass: 'KEYWORD_LIST',
  /** A JobState. */
  BackupStatus: 'KEYWORD',
} as const;

export type SearchAttributeName = keyof typeof searchAttributes;

/**
 * `waiting` for a slot, `running` with one (restores always run), `paused` without one until its source's hours begin again,
 * `finishing` without, and the ways in which a job ends.
 */
export type JobState =
  | 'planning'
  | 'waiting'
  | 'running'
  | 'paused'
  | 'finishing'
  | 'succeeded'
  | 'partial'
  | 'failed'
  | 'cancelled';

/** A type as the `temporal` command takes it. */
export const commandTypes = { KEYWORD: 'Keyword', KEYWORD_LIST: 'KeywordList' } as const;

export const searchAttributeNames = Object.keys(searchAttributes) as SearchAttributeName[];

/**
 * Which of them a server does not know, found out by asking it for jobs by each, which every server answers.
 *
 * @param count asks Temporal's visibility; rejects with gRPC's INVALID_ARGUMENT when the query names what is not known
 */
export async function unknownAttributes(count: (query: string) => Promise<unknown>): Promise<SearchAttributeName[]> {
  const unknown: SearchAttributeName[] = [];
  for (const name of searchAttributeNames) {
    try {
      await count(`${name} = 'x'`);
    } catch (error) {
      if ((error as { code?: unknown }).code !== invalidArgument) throw error;
      unknown.push(name);
    }
  }
  return unknown;
}

const invalidArgument = 3;

/** How a person registers what a Temporal server lacks. */
export function registerCommand(names: readonly SearchAttributeName[], namespace: string): string {
  const pairs = names.map((name) => `--name ${name} --type ${commandTypes[searchAttributes[name]]}`);
  return `temporal operator search-attribute create --namespace ${namespace} ${pairs.join(' ')}`;
}
