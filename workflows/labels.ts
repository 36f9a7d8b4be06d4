import { defineSearchAttributeKey } from '@temporalio/common';
import { upsertSearchAttributes } from '@temporalio/workflow';
import { type JobState, type SearchAttributeName, searchAttributes } from '../policies/search-attributes.ts';

const key = <N extends SearchAttributeName>(name: N) => defineSearchAttributeKey(name, searchAttributes[name]);
const keys = {
  source: key('BackupSource'),
  level: key('BackupLevel'),
  classes: key('BackupClass'),
  status: key('BackupStatus'),
};

export interface Labels {
  source: string;
  level?: string;
  classes?: string[];
  status: JobState;
}

/**
 * Returns what keeps a workflow's search attributes up to date; each call writes what has changed. The coordination
 * worker sees to it that the server knows them (workers/search-attributes.ts).
 */
export function createLabels(): (labels: Labels) => void {
  const known: Partial<Record<keyof Labels, string>> = {};
  const changed = <V>(name: keyof Labels, value: V | undefined): V | null => {
    const text = JSON.stringify(value);
    if (value === undefined || known[name] === text) return null;
    known[name] = text;
    return value;
  };
  return (labels) => {
    const source = changed('source', labels.source);
    const level = changed('level', labels.level);
    const classes = changed('classes', labels.classes);
    const status = changed('status', labels.status);
    const pairs = [
      ...(source === null ? [] : [{ key: keys.source, value: source }]),
      ...(level === null ? [] : [{ key: keys.level, value: level }]),
      ...(classes === null ? [] : [{ key: keys.classes, value: classes }]),
      ...(status === null ? [] : [{ key: keys.status, value: status }]),
    ];
    if (pairs.length > 0) upsertSearchAttributes(pairs);
  };
}
