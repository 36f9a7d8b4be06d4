/**
 * User metadata travel as HTTP headers, which take visible ASCII only. Other characters of a value, '%' and blanks at
 * its ends are percent-encoded (RFC 3986, 2.1), so that any text comes back as it was, and most are readable as they are.
 */
export function encodeMetadata(metadata: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, encodeValue(value)]));
}

/** The opposite. What others wrote, and is no such text, comes as it is. */
export function decodeMetadata(metadata: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, decodeValue(value)]));
}

function encodeValue(value: string): string {
  return value.toWellFormed().replace(/[^\x20-\x7e]+|%|^ +| +$/g, encodeURIComponent);
}

function decodeValue(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (error) {
    if (error instanceof URIError) return value;
    throw error;
  }
}
