import canonicalize from 'canonicalize';

/** True when two documents say the same, in whatever order their keys come (RFC 8785). */
export function sameDocument(a: object, b: object): boolean {
  return canonicalize(a) === canonicalize(b);
}
