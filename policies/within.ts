/** Whether a path is a folder, or lies below it, by their names alone. */
export function isWithin(inner: string, outer: string): boolean {
  const [a, b] = [folder(inner), folder(outer)];
  return a.startsWith(b);
}

/** Without `.`, `..` and doubled slashes, with one at the end. */
function folder(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.length === 0 ? '/' : `/${parts.join('/')}/`;
}

/** What leads from a folder to what lies below it. */
export function relativeTo(inner: string, outer: string): string {
  return folder(inner).slice(folder(outer).length).replace(/\/$/, '');
}
