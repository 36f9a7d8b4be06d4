import type { StoreAccess } from './credentials.ts';

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

/** Keys of the notes on who set or lifted a legal hold. Those who write backups may not write these. */
const holdNotes = '*/hold.*';

interface Statement {
  Sid: string;
  Effect: 'Allow' | 'Deny';
  Principal: { AWS: string[] };
  Action: string[];
  Resource: string;
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

/** What each access may do with the objects of a bucket, and with the bucket itself; nobody is given anything else. */
const rights: Record<StoreAccess, { objects: string[]; bucket: string[] }> = {
  read: { objects: readObjects, bucket: readBucket },
  write: {
    // Locking an object as it is put takes PutObjectRetention; it lengthens locks, and shortens none.
    objects: [
      ...readObjects,
      's3:PutObject',
      's3:PutObjectTagging',
      's3:PutObjectRetention',
      's3:AbortMultipartUpload',
      's3:ListMultipartUploadParts',
    ],
    bucket: [...readBucket, 's3:ListBucketMultipartUploads'],
  },
  delete: {
    objects: [...readObjects, 's3:DeleteObject', 's3:DeleteObjectVersion', 's3:AbortMultipartUpload'],
    bucket: [...readBucket, 's3:ListBucketMultipartUploads'],
  },
  hold: { objects: [...readObjects, 's3:PutObjectLegalHold'], bucket: readBucket },
};

/** The bucket policy that gives each access what it needs and no more. For a bucket with versioning and Object Lock. */
export function bucketPolicy({ bucket, prefix = '', principals, aws }: BucketPolicyOptions) {
  const arn = `arn:aws:s3:::${bucket}`;
  const objects = `${arn}/${prefix === '' ? '' : `${prefix}/`}*`;
  const statements = (Object.keys(rights) as StoreAccess[]).flatMap((access): Statement[] => {
    const common = { Effect: 'Allow' as const, Principal: { AWS: [principals[access]] } };
    return [
      { Sid: `${access}Objects`, ...common, Action: rights[access].objects, Resource: objects },
      { Sid: `${access}Bucket`, ...common, Action: rights[access].bucket, Resource: arn },
    ];
  });
  const notes = `${objects}${holdNotes.slice(1)}`;
  const puts = ['s3:PutObject', 's3:PutObjectTagging'];
  statements.push(
    { Sid: 'holdNotes', Effect: 'Allow', Principal: { AWS: [principals.hold] }, Action: puts, Resource: notes },
    { Sid: 'holdNotesOnly', Effect: 'Deny', Principal: { AWS: [principals.write] }, Action: puts, Resource: notes },
  );
  if (aws) {
    const deny = { Effect: 'Deny' as const, Resource: objects };
    statements.push(
      {
        Sid: 'conditionalPutsOnly',
        ...deny,
        Principal: { AWS: [principals.write, principals.hold] },
        Action: ['s3:PutObject'],
        // Parts of an upload carry no condition; its completion does, and that is what makes the object.
        Condition: { Null: { 's3:if-none-match': 'true' }, Bool: { 's3:ObjectCreationOperation': 'true' } },
      },
      {
        Sid: 'noEndlessLocks',
        ...deny,
        Principal: { AWS: [principals.write] },
        Action: ['s3:PutObject', 's3:PutObjectRetention'],
        Condition: { NumericGreaterThan: { 's3:object-lock-remaining-retention-days': String(aws.lockDaysMax) } },
      },
    );
  }
  return { Version: '2012-10-17', Statement: statements };
}
