import { type StoreAccess, storeAccesses } from './credentials.ts';

export interface BucketPolicyOptions {
  bucket: string;
  /** Before every key, without '/' at its ends; as in the policy's copy. */
  prefix?: string;
  /** Who holds each access: ARNs of roles or users on AWS, access key ids on versitygw. */
  principals: Record<StoreAccess, string>;
  /**
   * For AWS, which knows conditions that others refuse: puts must be conditional, so that not even a newer version can
   * be laid over an object, and no lock may be longer than so many days, so that nobody runs up costs that nobody can end.
   */
  aws?: { lockDaysMax: number };
}

/** Wrapped keys. */
const wrappedKeys = '*/key.*.age';
/** Those of them that rotation makes: all but key.1.age, which lies beside a point from the beginning. */
const laterKeys = ['*/key.1?*.age', ...[2, 3, 4, 5, 6, 7, 8, 9].map((digit) => `*/key.${digit}*.age`)];

/** Keys of the notes on who set or lifted a legal hold. Those who write backups may not write these. */
const holdNotes = '*/hold.*';

interface Statement {
  Sid: string;
  Effect: 'Allow' | 'Deny';
  Principal: { AWS: string[] };
  Action: string[];
  Resource: string | string[];
  Condition?: Record<string, Record<string, string>>;
}

const readObjects = [
  's3:GetObject',
  's3:GetObjectVersion',
  's3:GetObjectTagging',
  's3:GetObjectRetention',
  's3:GetObjectLegalHold',
];
const readBucket = [
  's3:ListBucket',
  's3:ListBucketVersions',
  's3:GetBucketVersioning',
  's3:GetBucketObjectLockConfiguration',
];

/** What an access may do beyond reading, with the objects of a bucket; nobody is given anything else. */
const more: Partial<Record<StoreAccess, string[]>> = {
  // Locking an object as it is put takes PutObjectRetention; it lengthens locks, and shortens none.
  write: [
    's3:PutObject',
    's3:PutObjectTagging',
    's3:PutObjectRetention',
    's3:AbortMultipartUpload',
    's3:ListMultipartUploadParts',
  ],
  delete: ['s3:DeleteObject', 's3:DeleteObjectVersion', 's3:AbortMultipartUpload'],
  hold: ['s3:PutObjectLegalHold'],
};

/**
 * The bucket policy that gives each access what it needs and no more. For a bucket with versioning and Object Lock. It
 * says everything once: versitygw keeps it as an attribute of a folder, which many file systems limit to 4 KiB.
 */
export function bucketPolicy({ bucket, prefix = '', principals, aws }: BucketPolicyOptions) {
  const arn = `arn:aws:s3:::${bucket}`;
  const objects = `${arn}/${prefix === '' ? '' : `${prefix}/`}*`;
  const allow = (Sid: string, accesses: readonly StoreAccess[], Action: string[], Resource: string): Statement => ({
    Sid,
    Effect: 'Allow',
    Principal: { AWS: accesses.map((access) => principals[access]) },
    Action,
    Resource,
  });
  const statements = [
    allow('readObjects', storeAccesses, readObjects, objects),
    allow('readBucket', storeAccesses, readBucket, arn),
    allow('pendingUploads', ['write', 'delete'], ['s3:ListBucketMultipartUploads'], arn),
    ...storeAccesses.flatMap((access) => {
      const actions = more[access];
      return actions ? [allow(`${access}Objects`, [access], actions, objects)] : [];
    }),
  ];
  const notes = `${objects}${holdNotes.slice(1)}`;
  const puts = ['s3:PutObject', 's3:PutObjectTagging'];
  statements.push(allow('holdNotes', ['hold'], puts, notes), {
    Sid: 'holdNotesOnly',
    Effect: 'Deny',
    Principal: { AWS: [principals.write] },
    Action: puts,
    Resource: notes,
  });
  statements.push(
    allow('wrappedKeys', ['rekey'], [...puts, 's3:PutObjectRetention'], `${objects}${wrappedKeys.slice(1)}`),
    {
      // Former keys are removed for those: whoever writes backups must not lay anything in their place.
      Sid: 'wrappedKeysOnly',
      Effect: 'Deny',
      Principal: { AWS: [principals.write] },
      Action: puts,
      Resource: laterKeys.map((keys) => `${objects}${keys.slice(1)}`),
    },
  );
  if (aws) {
    const deny = { Effect: 'Deny' as const, Resource: objects };
    statements.push(
      {
        Sid: 'conditionalPutsOnly',
        ...deny,
        Principal: { AWS: [principals.write, principals.hold, principals.rekey] },
        Action: ['s3:PutObject'],
        // Parts of an upload carry no condition; its completion does, and that is what makes the object.
        Condition: { Null: { 's3:if-none-match': 'true' }, Bool: { 's3:ObjectCreationOperation': 'true' } },
      },
      {
        Sid: 'noEndlessLocks',
        ...deny,
        Principal: { AWS: [principals.write, principals.rekey] },
        Action: ['s3:PutObject', 's3:PutObjectRetention'],
        Condition: { NumericGreaterThan: { 's3:object-lock-remaining-retention-days': String(aws.lockDaysMax) } },
      },
    );
  }
  return { Version: '2012-10-17', Statement: statements };
}
