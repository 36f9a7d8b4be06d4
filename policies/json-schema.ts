import { z } from 'zod';
import { policySchema } from './policy.ts';

export type JsonSchema = z.core.JSONSchema.JSONSchema;

let made: JsonSchema | undefined;

/** The policy file's JSON Schema (draft 2020-12), for editors and for naming what may stand where. */
export function policyJsonSchema(): JsonSchema {
  made ??= makeJsonSchema();
  return made;
}

function makeJsonSchema(): JsonSchema {
  const { $schema, ...schema } = z.toJSONSchema(policySchema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      // A format of zod's own, beside the pattern that says the same to everybody.
      if (jsonSchema.format === 'starts_with') delete jsonSchema.format;
    },
  });
  return {
    $schema,
    $id: 'policy.schema.json',
    title: 'Policy of the backup coordinator',
    description: 'Sources, copies, limits and notifications. policies/default.yaml explains every key.',
    ...schema,
  };
}

/** As it lies in policies/policy.schema.json. */
export function policyJsonSchemaText(): string {
  return `${JSON.stringify(policyJsonSchema(), null, 2)}\n`;
}

/**
 * The schemas for what stands at a path: several where a `kind` that is not known yet would decide.
 *
 * @param value the whole policy as it was read, right or wrong
 */
export function schemasAt(path: readonly PropertyKey[], value: unknown): JsonSchema[] {
  let schemas = unfold(policyJsonSchema(), value);
  let at = value;
  for (const part of path) {
    at = child(at, part);
    const inner = at;
    schemas = schemas.flatMap((schema) => {
      const next = typeof part === 'number' ? schema.items : schema.properties?.[String(part)];
      return typeof next === 'object' && !Array.isArray(next) ? unfold(next, inner) : [];
    });
  }
  return schemas;
}

/** What stands at a path of plain data, undefined when nothing does. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce(child, value);
}

function child(value: unknown, part: PropertyKey): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
  return Reflect.get(value, part);
}

/** The alternatives of a union, only the one whose `kind` the value has when there is one. */
function unfold(schema: JsonSchema, value: unknown): JsonSchema[] {
  const options = (schema.oneOf ?? schema.anyOf ?? []).filter((o) => typeof o === 'object');
  if (options.length === 0) return [schema];
  const kind = child(value, 'kind');
  const chosen = options.filter((o) => child(o.properties?.kind, 'const') === kind);
  return chosen.length > 0 ? chosen : options;
}
