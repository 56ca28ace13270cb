/** More than these no request needs. */
const readingsMax = 8;

/**
 * What servers may make of a path that has been decoded once: as it stands, without parameters of its segments
 * (`/a;x` is `/a` in Java), with backslashes as slashes (Windows), and decoded again. All have to be granted, and one
 * is enough to be kept out.
 */
export function readingsOf(path: string): readonly string[] {
  if (!/[;\\%]/.test(path)) return [path];
  const readings = [path];
  for (let i = 0; i < readings.length && readings.length < readingsMax; i++) {
    const reading = readings[i] as string;
    for (const read of [withoutParameters, withSlashes, decodedAgain]) {
      const other = read(reading);
      if (!readings.includes(other)) readings.push(other);
    }
  }
  return readings;
}

function withoutParameters(path: string): string {
  return path.includes(";") ? resolved(path.replace(/;[^/]*/g, "")) : path;
}

function withSlashes(path: string): string {
  return path.includes("\\") ? resolved(path.replaceAll("\\", "/")) : path;
}

function decodedAgain(path: string): string {
  try {
    return path.includes("%") ? resolved(decodeURIComponent(path)) : path;
  } catch {
    return path;
  }
}

function resolved(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "" && segment !== ".") segments.push(segment);
  }
  return `/${segments.join("/")}`;
}
