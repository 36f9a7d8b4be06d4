/** A text that stands somewhere in a history. */
export interface Text {
  /** Where: the workflow, the event, the field. */
  at: string;
  text: string;
  /** True for the bytes of a payload, false for names, messages and the like. */
  isPayload: boolean;
}

/** Every text and every byte string in a structure, wherever it is. */
export function textsIn(value: unknown, at: string): Text[] {
  if (typeof value === 'string') return value === '' ? [] : [{ at, text: value, isPayload: false }];
  if (value instanceof Uint8Array) return [{ at, text: Buffer.from(value).toString('latin1'), isPayload: true }];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) => textsIn(part, `${at}.${key}`));
}

/** Where a value stands in the texts: as it is, or as JSON, URIs, base64 and hex would write it. */
export function hidingPlaces(texts: Text[], value: string): string[] {
  const forms = new Set<string>();
  // A secret of several lines may be quoted in part.
  for (const part of [value, ...value.split('\n')].map((p) => p.trim()).filter((p) => p.length >= 8)) {
    forms.add(part);
    forms.add(JSON.stringify(part).slice(1, -1));
    forms.add(encodeURIComponent(part));
    forms.add(Buffer.from(part).toString('hex'));
    // Base64 of what begins at any offset in a larger text: what its neighbours cannot change.
    for (let shift = 0; shift < 3; shift++) {
      const encoded = Buffer.concat([Buffer.alloc(shift), Buffer.from(part)]).toString('base64');
      forms.add(encoded.slice(shift === 0 ? 0 : 4, -4));
    }
  }
  const wanted = [...forms].filter((form) => form.length >= 6);
  return texts.filter(({ text }) => wanted.some((form) => text.includes(form))).map(({ at }) => at);
}
