/**
 * Reads JSON that is written in the one way that we write it: white space between tokens aside, what JSON.stringify makes
 * of it. Otherwise bits could be changed that no signature over the meaning covers; and of a key that stands twice, one
 * reader would take the first, another the last. Throws SyntaxError, whose message says what is wrong ("it is …").
 */
export function parseWrittenJson(bytes: Uint8Array | string): unknown {
  let text: string;
  let value: unknown;
  let written: string;
  try {
    text = typeof bytes === 'string' ? bytes : new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
    // Text that is nested without end is read, but not written.
    written = JSON.stringify(value);
  } catch (error) {
    throw new SyntaxError('it is not JSON', { cause: error });
  }
  if (withoutSpace(text) !== written) throw new SyntaxError('it is not written as we write it');
  return value;
}

/** JSON without the white space between its tokens. */
function withoutSpace(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*")|[ \t\r\n]+/g, (_all, string: string | undefined) => string ?? '');
}
