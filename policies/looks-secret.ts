/**
 * Whether a text is, or holds, what people paste by mistake: keys, tokens, URLs with a password, passwords as rules for
 * passwords want them. Rather once too often: what looks like one is left out of messages, nothing else comes of it.
 */
export function looksSecret(text: string): boolean {
  return knownForms.test(text) || text.split(/\s+/).some((word) => isKeyLike(word) || isPasswordLike(word));
}

const knownForms = /AGE-SECRET-KEY|PRIVATE KEY|:\/\/\S*@|gh[a-z]_[A-Za-z0-9]{8}|AKIA[A-Z0-9]{8}/;

/** Base64, hex and the like; a path of plain words is as long, and none. */
function isKeyLike(word: string): boolean {
  return /[A-Za-z0-9+/=_-]{24,}/.test(word) && !/^[a-z./_-]*\/[a-z./_-]*$/.test(word);
}

function isPasswordLike(word: string): boolean {
  if (word.length < 8 || !/\d/.test(word)) return false;
  return (/[a-z]/.test(word) && /[A-Z]/.test(word)) || (/[a-z]/i.test(word) && /[!$#&%^*?~@+=]/.test(word));
}
