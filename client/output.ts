import { styleText } from 'node:util';
import type { DescribedError } from './errors.ts';

export interface Streams {
  stdout: Writable;
  stderr: Writable;
}
export interface Writable {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

export interface OutputOptions {
  streams: Streams;
  env: NodeJS.ProcessEnv;
  json: boolean;
  quiet: boolean;
  color: boolean;
}

export type Paint = 'red' | 'green' | 'yellow' | 'dim' | 'bold';

/**
 * Where a command's words go. Results go to stdout: one JSON document with --json, otherwise what a person reads.
 * Everything else (progress, notes, errors without --json) goes to stderr.
 */
export interface Output {
  readonly json: boolean;
  /** Both a terminal and wanted: redrawn lines make sense. */
  readonly live: boolean;
  readonly columns: number;
  /** The command's one result: the document with --json, the rendered text otherwise. Call it once. */
  result(document: unknown, render: () => string): void;
  /** Something a person should know; silent with --quiet and --json. */
  note(text: string): void;
  /** Raw text to the terminal that progress is drawn on. */
  draw(text: string): void;
  /** Says the error and returns its exit code. */
  error(error: DescribedError): number;
  paint(style: Paint, text: string): string;
}

export function createOutput({ streams, env, json, quiet, color }: OutputOptions): Output {
  const { stdout, stderr } = streams;
  const wanted = color && !env.NO_COLOR && env.TERM !== 'dumb';
  const painted = wanted && !json && stdout.isTTY === true;
  const paint = (style: Paint, text: string) => (painted ? styleText(style, text, { validateStream: false }) : text);
  return {
    json,
    live: !json && !quiet && stderr.isTTY === true && env.TERM !== 'dumb',
    columns: stderr.columns || 100,
    result(document, render) {
      if (json) stdout.write(`${JSON.stringify(document, null, 2)}\n`);
      else {
        const text = render();
        if (text !== '') stdout.write(`${text}\n`);
      }
    },
    note(text) {
      if (!json && !quiet) stderr.write(`${text}\n`);
    },
    draw: (text) => stderr.write(text),
    error({ type, message, next, exitCode }) {
      if (json) stdout.write(`${JSON.stringify({ error: { type, message, next, exitCode } }, null, 2)}\n`);
      else {
        const mark = wanted && stderr.isTTY ? styleText('red', '✗', { validateStream: false }) : '✗';
        stderr.write(`${mark} ${message}\n${next === '' ? '' : `  ${next}\n`}`);
      }
      return exitCode;
    },
    paint,
  };
}
