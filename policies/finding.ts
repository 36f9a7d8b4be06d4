export interface Finding {
  /** `error`: the policy is refused. `warning`: it is taken, but somebody should know. */
  severity: 'error' | 'warning';
  path: (string | number)[];
  text: string;
}

export const error = (path: Finding['path'], text: string): Finding => ({ severity: 'error', path, text });
export const warning = (path: Finding['path'], text: string): Finding => ({ severity: 'warning', path, text });
