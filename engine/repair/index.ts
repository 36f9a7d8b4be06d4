/** Finding what is damaged or missing in one copy, and putting it there again from another. */
export { type FoundDamage, findDamage, goodIn } from './find-damage.ts';
export { openPart } from './open-part.ts';
export { putAgain } from './put-again.ts';
