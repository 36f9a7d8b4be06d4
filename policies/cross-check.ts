import type { Policy } from './policy.ts';
import { judge321 } from './three-two-one.ts';

export interface Finding {
  path: (string | number)[];
  message: string;
}

/** What no single key shows: names used twice, places that coincide, a source that would back itself up. */
export function crossCheck(policy: Policy): Finding[] {
  const findings: Finding[] = [];
  const add = (path: Finding['path'], message: string) => findings.push({ path, message });
  for (const list of ['sources', 'copies'] as const) {
    const seen = new Map<string, number>();
    for (const [i, { name }] of policy[list].entries()) {
      const first = seen.get(name);
      if (first !== undefined) add([list, i, 'name'], `${list}[${first}] has this name already`);
      else seen.set(name, i);
    }
  }
  const places = new Map<string, number>();
  for (const [i, copy] of policy.copies.entries()) {
    const place = copy.kind === 'directory' ? `directory ${copy.path}` : `s3 ${copy.endpoint ?? copy.region} ${copy.bucket}/${copy.prefix}`;
    const first = places.get(place);
    if (first !== undefined) add(['copies', i], `is the same place as copies[${first}]; two copies there are one`);
    else places.set(place, i);
    if (copy.kind === 's3' && (copy.accessKeyId === undefined) !== (copy.secretAccessKey === undefined)) {
      add(['copies', i], 'accessKeyId and secretAccessKey go together');
    }
  }
  const own = [
    { path: policy.staging.path, what: 'staging.path' },
    ...policy.copies.flatMap((c) => (c.kind === 'directory' ? [{ path: c.path, what: `the copy "${c.name}"` }] : [])),
  ];
  for (const [i, source] of policy.sources.entries()) {
    if (source.kind !== 'files') continue;
    for (const { path, what } of own) {
      if (isWithin(path, source.path) && !isExcluded(path, source.path, source.exclude)) {
        add(['sources', i, 'path'], `holds ${what} (${path}), so it would back itself up; exclude that folder`);
      }
    }
  }
  return findings;
}

/** What is allowed, but which a person should know: the 3-2-1 rule that this policy cannot keep. */
export function policyWarnings(policy: Policy): string[] {
  const verdict = judge321({
    siteRegion: policy.site.region,
    production: { medium: 'disk' },
    copies: policy.copies.map((c) => ({ ...c, encrypted: true, verified: true })),
  });
  return verdict.breaches.map((b) => `the 3-2-1 rule cannot be kept: ${b}`);
}

function isWithin(inner: string, outer: string): boolean {
  const folder = outer.endsWith('/') ? outer : `${outer}/`;
  return inner === outer || inner.startsWith(folder);
}

function isExcluded(inner: string, outer: string, exclude: string[]): boolean {
  const relative = inner.slice(outer.length).replace(/^\//, '');
  return exclude.some((glob) => relative === glob || relative.startsWith(`${glob.replace(/\/\*\*$/, '')}/`) || glob === `${relative}/**`);
}
