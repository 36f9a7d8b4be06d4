import { describe, expect, test } from '@jest/globals';
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import fc from 'fast-check';
import { recipientProblem } from '../../policies/age-recipient.ts';
import { recipient } from './policies.ts';

describe('an age recipient', () => {
  test('that the age library makes is taken, of both kinds', async () => {
    expect(recipientProblem(await identityToRecipient(await generateX25519Identity()))).toBeNull();
    expect(recipientProblem(await identityToRecipient(await generateHybridIdentity()))).toBeNull();
  });

  test('is never an identity, and what is said does not repeat it', async () => {
    const identity = await generateX25519Identity();
    for (const text of [identity, identity.toLowerCase()]) {
      expect(recipientProblem(text)).toContain('identity');
      expect(recipientProblem(text)?.toLowerCase()).not.toContain(identity.toLowerCase().slice(16));
    }
  });

  test.each([
    ['nothing', '', 'out of place'],
    ['upper case', recipient.toUpperCase(), 'lower case'],
    ['a character that Bech32 has not', recipient.replace(/.$/, 'b'), 'out of place'],
    ['too short', 'age1qqqqq', 'out of place'],
    // A segwit address of BIP 173: right in itself, but of another kind.
    ['of another kind', 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4', 'kind "bc"'],
  ])('is refused: %s', (_what, text, words) => {
    expect(recipientProblem(text)).toContain(words);
  });

  test('with any one to four characters mistyped is noticed', () => {
    const slip = fc.record({
      at: fc.integer({ min: 0, max: recipient.length - 1 }),
      to: fc.constantFrom(...'qpzry9x8gf2tvdw0s3jn54khce6mua7l1'),
    });
    fc.assert(
      fc.property(fc.array(slip, { minLength: 1, maxLength: 4 }), (slips) => {
        const letters = [...recipient];
        for (const { at, to } of slips) letters[at] = to;
        fc.pre(letters.join('') !== recipient);
        return recipientProblem(letters.join('')) !== null;
      }),
      { numRuns: 5_000 },
    );
  });

  test('with a character lost, doubled or swapped with its neighbour is noticed', () => {
    for (let i = 0; i < recipient.length; i++) {
      const [before, here, next, after] = [
        recipient.slice(0, i),
        recipient.charAt(i),
        recipient.charAt(i + 1),
        recipient.slice(i + 2),
      ];
      expect(recipientProblem(before + next + after)).not.toBeNull();
      expect(recipientProblem(before + here + here + next + after)).not.toBeNull();
      if (next !== '' && here !== next) expect(recipientProblem(before + next + here + after)).not.toBeNull();
    }
  });
});
