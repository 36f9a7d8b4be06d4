# The workers and backupctl, with the client tools they call.
FROM node:24-bookworm-slim

RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates postgresql util-linux zstd tini \
  && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY policies ./policies
COPY engine ./engine
COPY activities ./activities
COPY workflows ./workflows
COPY workers ./workers
COPY client ./client
COPY scripts ./scripts
# What Node.js makes of the modules is kept, so that workers start sooner and in less memory.
ENV NODE_COMPILE_CACHE=/var/cache/backup-coordinator/node-compile
RUN node workers/bundle-workflows.ts && node client/backupctl.ts --help > /dev/null

# As root, because a backup must read every file; isolated test restores run their server as the user postgres.
VOLUME /data /staging
ENV NODE_ENV=production
# What workers/heap.ts says.
ENV NODE_OPTIONS=--max-semi-space-size=1 MALLOC_ARENA_MAX=2 UV_THREADPOOL_SIZE=16
ENTRYPOINT ["tini", "--"]
CMD ["node", "workers/main.ts", "--role", "coordination", "--policy", "/etc/backup-coordinator/policy.yaml"]
