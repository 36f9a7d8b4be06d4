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
  encrypted: boolean;
  /** Its bytes were read back and matched. Nothing else counts. */
  verified: boolean;
}

/** Judges one recovery point: three copies with production, two media, one off-site, all of them AES-256. */
export function judge321({ siteRegion, production, copies }: RuleInput): RuleVerdict {
  const good = copies.filter((c) => c.verified);
  const media = [...new Set([production.medium, ...good.map((c) => c.medium)])].sort();
  const offsiteRegions = [...new Set(good.map((c) => c.region).filter((r) => r !== siteRegion))].sort();
  const open = good.filter((c) => !c.encrypted).map((c) => c.name);
  const count = 1 + good.length;
  const breaches: string[] = [];
  if (count < 3) {
    const failed = copies.filter((c) => !c.verified).map((c) => c.name);
    const why = failed.length > 0 ? `; not verified: ${failed.join(', ')}` : '';
    breaches.push(`${count} of 3 copies (production and ${good.map((c) => c.name).join(', ') || 'nothing else'})${why}`);
  }
  if (media.length < 2) breaches.push(`1 of 2 media: all copies are on ${media[0]}`);
  if (offsiteRegions.length === 0) breaches.push(`no off-site copy: all are in ${siteRegion}`);
  if (open.length > 0) breaches.push(`not encrypted: ${open.join(', ')}`);
  return {
    satisfied: breaches.length === 0,
    copies: count,
    media,
    offsiteRegions,
    encrypted: open.length === 0,
    breaches,
  };
}
