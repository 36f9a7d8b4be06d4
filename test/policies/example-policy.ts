/** A policy file as somebody may have written it, with neither problem nor warning. */
export const examplePolicy = `version: 1

site:
  region: us-east-1

temporal:
  address: 127.0.0.1:7233
  namespace: default

catalog:
  dsn: env:CATALOG_DSN

keys:
  recipients:
    - age14e4ncmc8j8qcdhe5cuscr8qncyk6pgcgj8xaxevrruxd3nknupjqhpkcy5
    - age12et53j9q0qlfh3ljrn522ceqdxgvuyt0gxdvxh8ytzc62mxr3frscsktkk
  signing: file:/etc/backup/signing-key.pem
  trusted:
    - 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
  identity: file:/etc/backup/age-identity

staging:
  path: /var/lib/backup/staging

limits:
  backupSlots: 3
  leaseTimeout: 60s
  validationTimeout: 30m

calendar:
  timeZone: Europe/Berlin
  weekly: { day: saturday, at: 04:30 }

sources:
  - name: shop
    kind: postgres-logical
    host: db1
    critical: true
    priority: 90
    rpo: 24h
    rto: 1h
    connection:
      host: db1.example.com
      port: 5432
      database: shop
      user: backup
      password: env:SHOP_DB_PASSWORD
      sslmode: verify-full
    format: directory
    jobs: 4
    globals: true
    fingerprint: source
    hooks:
      pre: [/usr/local/bin/announce, backup, begins]
      post: [/usr/local/bin/announce, backup, is, over]
      timeout: 5m

  - name: documents
    kind: files
    host: files1
    rto: 2h
    path: /srv/documents
    include: []
    exclude: ["**/*.tmp", .cache]
    oneFileSystem: true
    onUnstable: warn
    onUnreadable: fail

copies:
  - name: server-disk
    kind: directory
    region: us-east-1
    medium: disk
    path: /srv/backup
    deadline: 6h
    pruneAfter: 7d

  - name: s3-west
    kind: s3
    region: us-west-2
    medium: object-storage
    bucket: example-backup-west
    prefix: production
    accessKeyId: env:BACKUP_WEST_KEY_ID
    secretAccessKey: env:BACKUP_WEST_SECRET_KEY
    credentials:
      delete: { accessKeyId: env:BACKUP_WEST_DELETE_ID, secretAccessKey: env:BACKUP_WEST_DELETE_KEY }
    lock: { mode: compliance }
    storageClass: STANDARD_IA
    sse: AES256
    tags: { Lifecycle: Archive }
    partBytes: 16777216
    concurrency: 4
    deadline: 24h

  - name: own-s3
    kind: s3
    region: second-building
    bucket: backup
    endpoint: https://s3.example.com:9000
    forcePathStyle: true
    accessKeyId: file:/etc/backup/own-s3-key-id
    secretAccessKey: file:/etc/backup/own-s3-secret-key
    credentials:
      delete: { accessKeyId: env:BACKUP_OWN_DELETE_ID, secretAccessKey: env:BACKUP_OWN_DELETE_KEY }

notifications:
  - kind: webhook
    url: env:BACKUP_WEBHOOK_URL
    secret: env:BACKUP_WEBHOOK_SECRET
    on: [success, failure]

  - kind: email
    host: mail.example.com
    port: 587
    security: starttls
    user: backup
    password: env:SMTP_PASSWORD
    from: backup@example.com
    to: [operations@example.com]
    on: [failure]
`;
