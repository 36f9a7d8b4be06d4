export { loadPolicy, readPolicyText } from './load-policy.ts';
export { resolveSecret, secretsAmong } from './secrets.ts';
