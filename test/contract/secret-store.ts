// What every secret store must do (reliability.md §2.6).
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { SecretStore } from "../../src/component/secret-store.ts";

export interface OpenedSecrets {
  secrets: SecretStore;
  close(): Promise<void>;
}

/** `open` gives a store that holds `conftestsecret` = abcd and `secondsecret` = efgh, and perhaps more. */
export function secretStoreContract(
  name: string,
  traits: { answersUnknown: boolean },
  open: () => Promise<OpenedSecrets>,
): void {
  describe(name, () => {
    let opened: OpenedSecrets;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());

    test("gives one secret by its name", async () => {
      expect(await opened.secrets.get("conftestsecret", {})).toEqual({ conftestsecret: "abcd" });
    });

    test("gives all secrets", async () => {
      expect(await opened.secrets.bulkGet({})).toMatchObject({
        conftestsecret: { conftestsecret: "abcd" },
        secondsecret: { secondsecret: "efgh" },
      });
    });

    test("shows no other secret when one is unknown", async () => {
      const answer = await opened.secrets.get("constructor", {}).catch((error: Error) => error);
      expect(answer instanceof Error).toBe(!traits.answersUnknown);
      const shown = answer instanceof Error ? answer.message : JSON.stringify(answer);
      expect(shown).not.toContain("abcd");
      expect(shown).not.toContain("efgh");
    });

    test("keeps its own copy", async () => {
      const secret = await opened.secrets.get("conftestsecret", {});
      secret.conftestsecret = "changed";
      expect(await opened.secrets.get("conftestsecret", {})).toEqual({ conftestsecret: "abcd" });
    });
  });
}
