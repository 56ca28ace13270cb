import { describe, expect, test } from "bun:test";
import { CancellationGroup } from "./cancellation-group.ts";

describe("CancellationGroup", () => {
  test("cancels who is in it, once, and nobody who has left", () => {
    const end = new AbortController();
    const group = new CancellationGroup(end.signal);
    const heard: string[] = [];
    const [inside, left, deaf] = [group.join(), group.join(), group.join()];
    inside.listen(() => heard.push("inside"));
    left.listen(() => heard.push("left"));
    deaf.listen(() => heard.push("deaf"));
    deaf.listen(undefined);
    group.leave(left);
    end.abort();
    expect(heard).toEqual(["inside"]);
    expect([inside, left, deaf].map(({ isCancelled }) => isCancelled)).toEqual([true, false, true]);
  });

  test("is too late after the signal", () => {
    const end = new AbortController();
    const early = new CancellationGroup(end.signal);
    end.abort();
    expect(early.join().isCancelled).toBe(true);
    expect(new CancellationGroup(end.signal).join().isCancelled).toBe(true);
  });
});
