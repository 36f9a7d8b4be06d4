/** Runs each piece of work once the one before is over, however that ended. */
export function oneByOne(): <T>(work: () => T | Promise<T>) => Promise<T> {
  let before: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = before.then(work);
    before = done.catch(() => {});
    return done;
  };
}
