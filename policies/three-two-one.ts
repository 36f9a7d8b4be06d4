import type { Policy } from './policy.ts';

/** Verdict of the 3-2-1 rule on one recovery point (mission row A1). */
export interface RuleVerdict {
  satisfied: boolean;
  copies: number;
  media: string[];
  offsiteRegions: string[];
  encrypted: boolean;
  /** One line per breach; empty when satisfied. */
  breaches: string[];
}

export interface RuleInput {
  /** Where production runs. */
  siteRegion: string;
  /** The data itself counts as the first copy. */
  production: { medium: string };
  copies: RuleCopy[];
}

export interface RuleCopy {
  name: string;
  region: string;
  medium: string;
  /** With AES-256, before it left the host. */
  encrypted: boolean;
  /** Its bytes were read back and matched. Nothing else counts. */
  verified: boolean;
}

/** What the rule asks for. */
const rule321 = { copies: 3, media: 2, offsiteRegions: 1 } as const;

/**
 * Judges one recovery point: at least three copies with production as one of them, on at least two media, at least one
 * of them in another region, every one of them encrypted. Only copies that were read back and matched count.
 */
export function judge321({ siteRegion, production, copies }: RuleInput): RuleVerdict {
  const counted = copies.filter((c) => c.verified);
  const missing = copies.filter((c) => !c.verified).map((c) => c.name);
  const media = distinct([production, ...counted].map((c) => c.medium));
  const offsiteRegions = distinct(counted.map((c) => c.region).filter((r) => !sameRegion(r, siteRegion)));
  const unencrypted = counted.filter((c) => !c.encrypted).map((c) => c.name);
  const total = 1 + counted.length;

  const breaches: string[] = [];
  if (total < rule321.copies) {
    const have = list(['production', ...counted.map((c) => c.name)]);
    breaches.push(`${total} of ${rule321.copies} copies: there is only ${have}${notVerified(missing)}`);
  }
  if (media.length < rule321.media) {
    breaches.push(`1 of ${rule321.media} media: everything lies on ${production.medium}${notVerified(missing)}`);
  }
  if (offsiteRegions.length < rule321.offsiteRegions) {
    const away = copies.filter((c) => !sameRegion(c.region, siteRegion)).map((c) => c.name);
    breaches.push(
      away.length === 0
        ? `no copy off-site: none is planned outside ${siteRegion}, where production runs`
        : `no copy off-site: of those outside ${siteRegion}, ${list(away)} could not be verified`,
    );
  }
  if (unencrypted.length > 0) breaches.push(`not encrypted with AES-256: ${list(unencrypted)}`);

  return {
    satisfied: breaches.length === 0,
    copies: total,
    media,
    offsiteRegions,
    encrypted: unencrypted.length === 0,
    breaches,
  };
}

/** The verdict on a recovery point of a policy. @param isVerified whether the copy of this name was read back and matched */
export function judgePolicy(
  { site, copies }: Pick<Policy, 'site' | 'copies'>,
  isVerified: (copy: string) => boolean,
): RuleVerdict {
  return judge321({
    siteRegion: site.region,
    production: { medium: 'disk' },
    copies: copies.map(({ name, region, medium }) => ({
      name,
      region,
      medium,
      // Every object is sealed with AES-256-GCM before it leaves the host; there is no way to store it otherwise.
      encrypted: true,
      verified: isVerified(name),
    })),
  });
}

/** Names of regions are compared without regard to case and surrounding space: people type them. */
function sameRegion(a: string, b: string): boolean {
  return a.trim().toLowerCase() === b.trim().toLowerCase();
}

function notVerified(names: string[]): string {
  return names.length === 0 ? '' : `; ${list(names)} could not be verified`;
}

function list(names: string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function distinct(values: string[]): string[] {
  return [...new Set(values)].sort();
}
