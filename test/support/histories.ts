import type { Client, WorkflowExecutionInfo, WorkflowHandle } from '@temporalio/client';
import { hidingPlaces, type Text, textsIn } from './texts.ts';

export type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;

export interface Run {
  info: WorkflowExecutionInfo;
  history: History;
}

/** What a server has kept of every run of every workflow, also of those that go on. */
export async function allRuns(client: Client): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const info of client.workflow.list()) {
    const history = await client.workflow.getHandle(info.workflowId, info.runId).fetchHistory();
    runs.push({ info, history });
  }
  return runs;
}

/** Every text of their payloads, failures, headers and names. */
export function textsOf(runs: Run[]): Text[] {
  return runs.flatMap(({ info, history }) => textsIn(history, `${info.type} ${info.workflowId}`));
}

/** Which of the secrets, by name, stand in texts, and where: plain or encoded. */
export function secretsIn(texts: Text[], secrets: Iterable<[name: string, value: string]>): string[] {
  return [...secrets].flatMap(([name, value]) => hidingPlaces(texts, value).map((at) => `${name} in ${at}`));
}
