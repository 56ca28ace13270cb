import { describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Files, realFiles } from "./files.ts";
import { SimulatedFiles } from "./simulated-files.ts";

interface Tree {
  files: Files;
  at: (path: string) => string;
  write: (path: string, text: string) => Promise<void> | void;
  makeFolder: (path: string) => Promise<unknown>;
  link: (path: string, target: string) => Promise<void> | void;
  rename: (from: string, to: string) => Promise<void> | void;
  remove: (path: string) => Promise<void> | void;
  end: () => Promise<void>;
}

async function realTree(): Promise<Tree> {
  const root = await realFiles.realPath(await mkdtemp(join(tmpdir(), "mecha-files-")));
  const at = (path: string): string => join(root, path);
  return {
    files: realFiles,
    at,
    write: (path, text) => writeFile(at(path), text),
    makeFolder: (path) => mkdir(at(path)),
    link: (path, target) => symlink(target, at(path)),
    rename: (from, to) => rename(at(from), at(to)),
    remove: (path) => rm(at(path), { recursive: true }),
    end: () => rm(root, { recursive: true }),
  };
}

async function simulatedTree(): Promise<Tree> {
  const files = new SimulatedFiles();
  const at = (path: string): string => join("/root", path);
  files.makeFolder("/root");
  return {
    files,
    at,
    write: (path, text) => files.write(at(path), text),
    makeFolder: async (path) => files.makeFolder(at(path)),
    link: (path, target) => files.link(at(path), target),
    rename: (from, to) => files.rename(at(from), at(to)),
    remove: (path) => files.remove(at(path)),
    end: async () => {},
  };
}

async function codeOf(doing: Promise<unknown>): Promise<string | undefined> {
  return doing.then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  );
}

// What the simulated files promise is what the system's do: one suite for both.
for (const [name, open] of Object.entries({ realFiles: realTree, SimulatedFiles: simulatedTree })) {
  describe(name, () => {
    test("reads, lists, tells kinds and follows links", async () => {
      const tree = await open();
      const { files, at } = tree;
      await tree.makeFolder("v1");
      await tree.write("v1/a.yaml", "a");
      await tree.link("data", "v1");
      await tree.link("a.yaml", "data/../data/a.yaml");
      expect(Buffer.from(await files.read(at("a.yaml"))).toString()).toBe("a");
      expect(await files.realPath(at("a.yaml"))).toBe(at("v1/a.yaml"));
      expect((await files.list(at(""))).sort()).toEqual(["a.yaml", "data", "v1"]);
      expect([await files.kind(at("data")), await files.kind(at("a.yaml"))]).toEqual(["folder", "file"]);
      await tree.end();
    });

    test("fails with the system's codes", async () => {
      const tree = await open();
      const { files, at } = tree;
      await tree.write("file", "x");
      await tree.link("loop", "loop");
      await tree.link("away", "nowhere");
      expect(await codeOf(files.read(at("none")))).toBe("ENOENT");
      expect(await codeOf(files.kind(at("away")))).toBe("ENOENT");
      expect(await codeOf(files.read(at("file/inner")))).toBe("ENOTDIR");
      expect(await codeOf(files.list(at("file")))).toBe("ENOTDIR");
      expect(await codeOf(files.read(at("")))).toBe("EISDIR");
      expect(await codeOf(files.realPath(at("loop")))).toBe("ELOOP");
      expect(() => files.watch(at("none"), { onChange() {}, onEnd() {} })).toThrow("ENOENT");
      await tree.end();
    });

    for (const [what, change] of Object.entries({
      added: (tree: Tree) => tree.write("new", "1"),
      changed: (tree: Tree) => tree.write("old", "2"),
      renamed: (tree: Tree) => tree.rename("old", "new"),
      removed: (tree: Tree) => tree.remove("old"),
    })) {
      test(`tells of a file that is ${what} in a watched folder`, async () => {
        const tree = await open();
        await tree.write("old", "1");
        const told = Promise.withResolvers<void>();
        const watch = tree.files.watch(tree.at(""), { onChange: told.resolve, onEnd() {} });
        await change(tree);
        await told.promise;
        watch.close();
        await tree.end();
      });
    }
  });
}
