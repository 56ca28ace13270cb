/** Paths of callers that get cells of their own; the others share those of the empty path. */
const pathsMax = 2000;

/** Finds the cells of a call without putting a label set together. Paths are text of callers: their number is bounded. */
export class CellTable<Cells> {
  readonly #bind: (path: string, verb: string, status: string) => Cells;
  readonly #byStatus = new Map<string, Map<string, Cells>>();

  constructor(bind: (path: string, verb: string, status: string) => Cells) {
    this.#bind = bind;
  }

  find(path: string, verb: string, status: string): Cells {
    // One table per verb and status: there are few of them.
    const statusKey = verb + status;
    let byPath = this.#byStatus.get(statusKey);
    if (byPath === undefined) {
      byPath = new Map();
      this.#byStatus.set(statusKey, byPath);
    }
    const known = byPath.get(path);
    if (known !== undefined) return known;
    const shown = byPath.size >= pathsMax ? "" : path;
    let cells = byPath.get(shown);
    if (cells === undefined) {
      cells = this.#bind(shown, verb, status);
      byPath.set(shown, cells);
    }
    return cells;
  }
}
