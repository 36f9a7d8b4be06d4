import { createHash } from 'node:crypto';
import { readFrame } from './frames.mjs';
import { readManifest } from './manifest.mjs';
import { openSealed, readPoint, unlock } from './point.mjs';
import { damaged, Problem } from './problem.mjs';

/** @typedef {import('./manifest.mjs').Block} Block */
/** @typedef {import('./point.mjs').Point} Point */
/** @typedef {import('./sealed.mjs').SealedFile} SealedFile */

/** @typedef {{ store: string, trusted: string[], keyring: import('./point.mjs').Keyring }} Access how points are opened */

/** Open at once; each holds some segments. A block may have pages of every point in its chain. */
const openArtifacts = 64;
/** 64 MiB: neighbours share frames, but a base backup has them in the order of its server. For a chain, one more a point. */
const cachedFrames = 16;

/** A point that was unlocked: its manifest, and its blocks wherever they lie. */
export class OpenPoint {
  /** @param {Point} point @param {Access} access */
  constructor(point, access) {
    this.point = point;
    this.access = access;
    this.key = unlock(point, access.keyring);
    /** @type {import('./manifest.mjs').ArtifactName[]} */
    this.names = [];
    /** @type {Map<number, SealedFile>} */
    this.artifacts = new Map();
    /** @type {Map<string, Uint8Array>} */
    this.frames = new Map();
  }

  /** Entries, each followed by its blocks. */
  *items() {
    const manifest = openSealed(this.point, this.key, 'manifest');
    try {
      for (const item of readManifest(manifest, this.point.backup.id)) {
        if (item.kind === 'header') this.names = item.artifacts;
        else yield item;
      }
    } finally {
      manifest.close();
    }
  }

  /** A block's bytes, which are those that were sealed. @param {Block} block @returns {Uint8Array} */
  read({ bytes, sha256, stretches }) {
    const parts = stretches.map(({ artifact, frameOffset, frameBytes, offset, bytes: length }) => {
      return this.frame(artifact, frameOffset, frameBytes).subarray(offset, offset + length);
    });
    const content = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    if (content.length === bytes && createHash('sha256').update(content).digest('hex') === sha256) return content;
    const [{ artifact, frameOffset }, ...more] = stretches;
    const where = `${this.artifact(artifact).name} is damaged: a block in the frame at ${frameOffset}`;
    throw damaged(`${where}${more.length > 0 ? ', and others,' : ''} is not what the manifest names.`);
  }

  /** @param {number} artifact @param {number} offset @param {number} bytes */
  frame(artifact, offset, bytes) {
    const place = `${artifact}:${offset}:${bytes}`;
    const frame = this.frames.get(place) ?? readFrame(this.artifact(artifact), offset, bytes);
    // The one that was used longest ago comes first.
    this.frames.delete(place);
    this.frames.set(place, frame);
    for (const oldest of this.frames.keys()) {
      if (this.frames.size < cachedFrames + this.names.length) break;
      this.frames.delete(oldest);
    }
    return frame;
  }

  /** The artifact of an index: the point's own, or that of another point, which lies beside it. @param {number} index */
  artifact(index) {
    const known = this.artifacts.get(index);
    const artifact = known ?? (index === 0 ? openSealed(this.point, this.key, 'artifact') : this.openOther(index));
    // The one that was used longest ago comes first.
    this.artifacts.delete(index);
    this.artifacts.set(index, artifact);
    for (const [oldest, unused] of this.artifacts) {
      if (this.artifacts.size <= openArtifacts) break;
      unused.close();
      this.artifacts.delete(oldest);
    }
    return artifact;
  }

  /** @param {number} index */
  openOther(index) {
    const { id, source } = this.names[index];
    try {
      const other = readPoint(this.access.store, source, id, this.access.trusted);
      return openSealed(other, unlock(other, this.access.keyring), 'artifact');
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      throw new Problem(error.kind, `${this.point.name} needs ${source}/${id}: ${error.message}`, error.next);
    }
  }

  close() {
    for (const artifact of this.artifacts.values()) artifact.close();
  }
}
