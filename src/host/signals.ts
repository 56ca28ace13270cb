/** Exit codes of a process ended by a signal, as shells count them; TERM is a normal stop. */
const codes = { SIGINT: 130, SIGTERM: 0 } as const;

/** Calls `stop` at the first INT or TERM; a second one ends the process at once. */
export function onStopSignals(stop: (code: number) => void): { forget(): void } {
  let isStopping = false;
  const handlers = (Object.keys(codes) as (keyof typeof codes)[]).map((signal) => {
    const handler = (): void => {
      if (isStopping) process.exit(codes[signal] || 1);
      isStopping = true;
      stop(codes[signal]);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  return {
    forget() {
      for (const { signal, handler } of handlers) process.off(signal, handler);
    },
  };
}
