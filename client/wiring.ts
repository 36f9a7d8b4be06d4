import { type Command, InvalidArgumentError } from 'commander';
import type { Context } from './context.ts';

export interface GlobalOptions {
  policy?: string;
  json: boolean;
  quiet: boolean;
  color: boolean;
}

/** A command's work; returns its exit code when that is not 0. */
export type Work = (context: Context) => Promise<number | undefined>;
export type Execute = (global: GlobalOptions, work: Work) => Promise<void>;

/** Wires a command to its work. Options may stand before or after it. */
export type On = <A extends unknown[], O>(
  command: Command,
  work: (context: Context, options: O, ...args: A) => Promise<number | undefined>,
) => Command;

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('Give a whole number of at least 1.');
}
