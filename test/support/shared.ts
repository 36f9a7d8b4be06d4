/** What the global setup tells the tests, through the environment that Jest's workers inherit. */
export const servicesVariable = 'BACKUP_TEST_SERVICES';

export interface S3Service {
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
}

export interface Services {
  /** A folder for the whole run, removed at its end. */
  folder: string;
  /** A server whose superuser is `postgres`. */
  postgres: { host: string; port: number; user: string; password: string; binDir: string };
  s3: { east: S3Service; west: S3Service };
  temporal: { address: string; namespace: string };
}
