import { z } from 'zod';

/** A reference to a secret, resolved only in the process that needs it. */
export const secretRef = z.string().regex(/^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$/, 'env:NAME or file:PATH');
