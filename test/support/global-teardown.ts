import { stopAll } from './global-state.ts';

export default async function teardown(): Promise<void> {
  await stopAll();
}
