/** Legal holds on recovery points: set and lifted by people, enforced by stores that can, noted beside the point in all. */
export { holdPoint } from './hold-point.ts';
export { readHoldNotes } from './notes.ts';
