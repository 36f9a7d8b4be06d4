import type { PointReader } from '../artifact/index.ts';

/** A small part of a point, whole. */
export async function readContent(point: PointReader, part: string, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of point.content(part, signal)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
