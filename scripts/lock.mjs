// One process at a time: a folder as the lock, with the owner's id in it, so that a dead owner holds nothing.
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const pollMs = 100;

/** Runs `work` while holding the lock `folder`. `onWait` is called once when another process has it. */
export async function withLock(folder, work, { waitMs = 10 * 60_000, onWait = () => {} } = {}) {
  mkdirSync(dirname(folder), { recursive: true });
  const deadline = Date.now() + waitMs;
  for (let tries = 0; !tryLock(folder); tries++) {
    if (Date.now() > deadline)
      throw new Error(`${folder} has been locked for too long: end its owner or remove it`);
    if (tries === 0) onWait();
    await new Promise((done) => setTimeout(done, pollMs));
  }
  try {
    return await work();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function tryLock(folder) {
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, "pid"), String(process.pid));
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    if (isAbandoned(folder)) rmSync(folder, { recursive: true, force: true });
    return false;
  }
}

function isAbandoned(folder) {
  try {
    process.kill(Number(readFileSync(join(folder, "pid"), "utf8")), 0);
    return false;
  } catch (error) {
    if (error.code === "ESRCH") return true;
    if (error.code !== "ENOENT") return false;
    // The owner has made the folder and not yet written its id, or died between the two.
    return existsSync(folder) && Date.now() - statSync(folder).mtimeMs > 5_000;
  }
}
