export { loadPolicy } from './load-policy.ts';
export { resolveSecret } from './secrets.ts';
