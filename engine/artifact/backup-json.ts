import type { z } from 'zod';
import { Failure } from '../../policies/failure.ts';
import {
  type BackupJson,
  backupFormat,
  backupJson,
  type SealedPoint,
  sealedPoint,
  type Validation,
} from '../../policies/recovery-point.ts';
import type { SigningKey } from './keys.ts';
import { signatureOf, verifies } from './signed.ts';
import { parseWrittenJson } from './written-json.ts';

/** Signs the description of a sealed and validated point. Returns the text of backup.json. */
export function signBackupJson(point: SealedPoint & { validation: Validation }, key: SigningKey): string {
  const document: BackupJson = backupJson.parse({ ...point, signature: signatureOf(point, key) });
  return `${JSON.stringify(document, null, 2)}\n`;
}

/**
 * Reads backup.json and verifies its signature. Throws Corrupt when it is no such document, FormatUnsupported when a
 * newer version wrote it, SignatureInvalid when it was changed or signed by a key that is not trusted.
 *
 * @param trusted raw Ed25519 public keys, base64
 */
export function parseBackupJson(bytes: Uint8Array | string, trusted: string[]): BackupJson {
  const parsed = parse('backup.json', backupJson, bytes);
  const { signature, ...signed } = parsed;
  if (!trusted.includes(signature.publicKey)) {
    throw new Failure(
      'SignatureInvalid',
      `backup.json of ${signed.id} is signed by ${signature.publicKey}, which is not trusted.`,
      {
        next: 'If that key is yours, add it to keys.trusted in the policy file; otherwise someone else wrote this point.',
      },
    );
  }
  if (!verifies(signed, signature)) {
    throw new Failure('SignatureInvalid', `backup.json of ${signed.id} was changed after it was signed.`, {
      next: 'Use another copy of this recovery point.',
    });
  }
  return parsed;
}

/** Reads `sealed.json`, which describes a point that is staged and not yet signed. Throws Corrupt, FormatUnsupported. */
export function parseSealedJson(bytes: Uint8Array | string): SealedPoint {
  return parse('sealed.json', sealedPoint, bytes);
}

function parse<T>(name: string, schema: z.ZodType<T>, bytes: Uint8Array | string): T {
  let value: unknown;
  try {
    value = parseWrittenJson(bytes);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw corrupt(name, error.message, error);
  }
  const format = typeof value === 'object' && value !== null && 'format' in value ? value.format : undefined;
  if (typeof format === 'string' && format !== backupFormat && format.startsWith('backup-coordinator/')) {
    throw new Failure(
      'FormatUnsupported',
      `This recovery point has the format ${format}; this version reads ${backupFormat}.`,
      {
        next: 'Use a newer version of this software to read it.',
      },
    );
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw corrupt(name, `${issue?.path.join('.') || 'the document'}: ${issue?.message ?? 'malformed'}`, parsed.error);
}

function corrupt(name: string, what: string, cause: unknown): Failure {
  return new Failure('Corrupt', `${name} is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
    cause,
  });
}
