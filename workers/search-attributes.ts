import { setTimeout } from 'node:timers/promises';
import type { Connection } from '@temporalio/client';
import { Failure } from '../policies/failure.ts';
import {
  registerCommand,
  type SearchAttributeName,
  searchAttributeNames,
  searchAttributes,
  unknownAttributes,
} from '../policies/search-attributes.ts';

/** temporal.api.enums.v1.IndexedValueType */
const typeNumbers = { KEYWORD: 2, KEYWORD_LIST: 7 } as const;

/** A server with a search store of its own takes a while to know what was registered. */
const knownWithinMs = 60_000;

/**
 * Sees to it that Temporal knows the search attributes that our workflows set: a workflow that sets an unknown one gets
 * no further. Registers what is missing. Throws TemporalUnreachable with the command that does it by hand.
 */
export async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  try {
    const missing = await lacking();
    if (missing.length === 0) return;
    const wanted = Object.fromEntries(missing.map((name) => [name, typeNumbers[searchAttributes[name]]]));
    try {
      await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: wanted });
    } catch (error) {
      // Another worker may have done it at this moment; whether it has is seen below.
      if (!/exist/i.test((error as Error).message)) throw error;
    }
    const until = performance.now() + knownWithinMs;
    while ((await lacking()).length > 0) {
      if (performance.now() > until) throw new Error('they are registered, but not known after a minute');
      await setTimeout(200);
    }
  } catch (error) {
    throw new Failure(
      'TemporalUnreachable',
      `Temporal must know the search attributes ${searchAttributeNames.join(', ')}: ${(error as Error).message}.`,
      { next: `Register those it lacks: ${registerCommand(searchAttributeNames, namespace)}`, cause: error },
    );
  }

  async function lacking(): Promise<SearchAttributeName[]> {
    const types = await listed();
    if (!types)
      return unknownAttributes((query) => connection.workflowService.countWorkflowExecutions({ namespace, query }));
    for (const name of searchAttributeNames.filter((n) => n in types)) {
      if (types[name] === typeNumbers[searchAttributes[name]]) continue;
      throw new Error(`${name} is there with another type than ${searchAttributes[name]}; remove it first`);
    }
    return searchAttributeNames.filter((name) => !(name in types));
  }

  /** Null where a worker may not list them, as in Temporal Cloud. */
  async function listed(): Promise<Record<string, unknown> | null> {
    try {
      return (await connection.operatorService.listSearchAttributes({ namespace })).customAttributes ?? {};
    } catch (error) {
      if (cannotList.includes((error as { code?: number }).code ?? 0)) return null;
      throw error;
    }
  }
}

/** gRPC's PERMISSION_DENIED, UNIMPLEMENTED */
const cannotList = [7, 12];
