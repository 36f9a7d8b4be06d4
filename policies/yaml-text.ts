import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type YAMLError,
} from 'yaml';

export interface Place {
  line: number;
  column: number;
}

export type Path = readonly PropertyKey[];

export interface YamlText {
  /** What the text says, as plain data. */
  value: unknown;
  /** Where the key or item at a path stands; its nearest ancestor when it is not there. */
  placeOf(path: Path): Place;
  /** What keeps the text from being read at all; the value is undefined then. */
  errors: (Place & { text: string })[];
}

/**
 * Reads YAML 1.2 and remembers where everything stands. Its errors are put in our own words: the library's repeat
 * parts of the text, and one of them may be a password that begins with `*` or `@`.
 */
export function readYaml(text: string): YamlText {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const placeOf = (path: Path) => at(offsetOf(document, path));
  const errors = [...document.errors, ...document.warnings].map((e) => ({ ...at(e.pos[0]), text: wordsFor(e) }));
  if (errors.length > 0) return { value: undefined, placeOf, errors };
  try {
    return { value: document.toJS(), placeOf, errors };
  } catch (error) {
    // Unknown anchors, and aliases that would unfold to something enormous, only show now.
    if (!(error instanceof ReferenceError)) throw error;
    return { value: undefined, placeOf, errors: [{ ...firstAlias(document, at), text: wordsForAlias(error) }] };
  }
}

const words: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'a text that begins with "*" or "&" must be in quotes',
  BAD_DQ_ESCAPE: 'there is an escape here that YAML does not know; use single quotes to take a backslash as it is',
  BAD_INDENT: 'this line is not indented like its neighbours, or a bracket before it is not closed',
  BAD_SCALAR_START: 'a text that begins with this character must be in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'there are two colons on this line; put a text that holds ": " in quotes',
  DUPLICATE_KEY: 'this key stands twice in the same place',
  MISSING_CHAR: 'something is missing here: a closing quote or bracket, or a colon or comma before it',
  MULTILINE_IMPLICIT_KEY: 'a colon is missing here, or the line before is not indented as it should be',
  MULTIPLE_DOCS: 'there is a second document ("---") here; a policy file is one document',
  TAB_AS_INDENT: 'there is a tab here; indent with spaces',
  TAG_RESOLVE_FAILED: 'a text that begins with "!" must be in quotes',
  UNEXPECTED_TOKEN: 'this is not expected here; put texts with special characters in quotes',
};

function wordsFor(error: YAMLError): string {
  return words[error.code] ?? `this is not valid YAML (${error.code})`;
}

function wordsForAlias(error: ReferenceError): string {
  return error.message.startsWith('Excessive')
    ? 'this alias unfolds to far too much'
    : 'a text that begins with "*" must be in quotes; an alias needs its anchor before it';
}

function firstAlias(document: Document, at: (offset: number) => Place): Place {
  const found = findAlias(document.contents);
  return at(found ?? 0);
}

function findAlias(node: unknown): number | undefined {
  if (isAlias(node)) return node.range?.[0];
  if (isMap(node)) {
    for (const { value } of node.items) {
      const found = findAlias(value);
      if (found !== undefined) return found;
    }
  }
  if (isSeq(node)) {
    for (const item of node.items) {
      const found = findAlias(item);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let offset = startOf(node);
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((p) => isScalar(p.key) && String(p.key.value) === String(part));
      if (!pair) break;
      offset = startOf(pair.key);
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      offset = startOf(node);
    } else break;
  }
  return offset;
}

function startOf(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}
