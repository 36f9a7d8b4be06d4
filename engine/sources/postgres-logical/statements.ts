/**
 * Cuts an SQL script into its statements, minding quotes, dollar quotes and comments (PostgreSQL manual, 4.1 Lexical
 * Structure), without the semicolons. Lines with psql's own commands (`\connect`, `\restrict`) are left out.
 */
export function splitStatements(script: string): string[] {
  const statements: string[] = [];
  const token =
    /--[^\n]*|\/\*[\s\S]*?\*\/|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$)[\s\S]*?\1|^\\[^\n]*|;/gm;
  let statement = '';
  let from = 0;
  const end = () => {
    if (statement.trim() !== '') statements.push(statement.trim());
    statement = '';
  };
  for (const match of script.matchAll(token)) {
    statement += script.slice(from, match.index);
    from = match.index + match[0].length;
    if (match[0] === ';') end();
    else if (/^(--|\/\*|\\)/.test(match[0])) statement += ' ';
    else statement += match[0];
  }
  statement += script.slice(from);
  end();
  return statements;
}
