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
