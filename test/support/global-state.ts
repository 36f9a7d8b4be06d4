interface Stoppable {
  stop(): Promise<void>;
}

// Jest loads setup and teardown as separate modules of one process; only the global object is common to them.
const shared = globalThis as typeof globalThis & { backupTestServices?: Stoppable[] };

/** Remembers something to end when all tests are over, and returns it. */
export function keepForTeardown<T extends Stoppable>(service: T): T {
  shared.backupTestServices ??= [];
  shared.backupTestServices.push(service);
  return service;
}

/** Ends everything that was kept, the newest first. */
export async function stopAll(): Promise<void> {
  const services = shared.backupTestServices ?? [];
  shared.backupTestServices = [];
  for (const service of services.reverse()) await service.stop();
}
