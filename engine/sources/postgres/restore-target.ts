import { Failure } from '../../../policies/failure.ts';
import type { RestoreTarget } from '../../../policies/policy.ts';
import { connectionFromUri } from './connection.ts';

/**
 * The URI of a database to restore into, with the password that the policy has for that very server and user, if any.
 * What a restore asks for is not trusted: a password goes to no server but its own, and a backup to no server but those
 * of the policy, when it names any. Throws UsageInvalid for a URI that cannot be read or carries a password,
 * TargetUnusable for another server.
 *
 * @param uri as asked for, without a password
 */
export async function restoreUri(
  uri: string,
  targets: RestoreTarget[],
  resolveSecret: (ref: string) => Promise<string>,
): Promise<string> {
  // As the client tools will read it: parameters after the question mark go before what stands before it.
  const { host, port, user, password } = connectionFromUri(uri);
  if (password !== undefined) {
    throw new Failure('UsageInvalid', 'The URI of the database to restore into carries a password.', {
      next: 'Leave it out, and name the server with its password under restoreTargets in the policy file.',
    });
  }
  const target = targets.find((t) => t.host === host && t.port === port && t.user === user);
  if (!target && targets.length > 0) {
    throw new Failure('TargetUnusable', `The policy lets no restore go to ${user}@${host}:${port}.`, {
      next: 'Add that server and user to restoreTargets in the policy file, and restart the recovery worker.',
    });
  }
  if (!target?.password) return uri;
  const whole = new URL(uri);
  whole.password = encodeURIComponent(await resolveSecret(target.password));
  return whole.href;
}
