/** How the script ends: the codes are those of backupctl where it has them. */
export const exitCodes = {
  usage: 2,
  unknown: 3,
  target: 4,
  store: 5,
  /** Damaged, of another key, or signed by somebody else. */
  damage: 6,
  /** Done, but something that was named could not be brought back. */
  incomplete: 9,
};

/** A failure that a person can do something about. */
export class Problem extends Error {
  /**
   * @param {keyof typeof exitCodes} kind
   * @param {string} message what happened, to which thing
   * @param {string} [next] what to do now
   */
  constructor(kind, message, next = '') {
    super(message);
    this.kind = kind;
    this.next = next;
  }
}

/**
 * @param {string} message
 * @param {string} [next]
 */
export function damaged(message, next = 'Use another copy of this recovery point.') {
  return new Problem('damage', message, next);
}
