/**
 * The Huffman code of HPACK (RFC 7541 appendix B). It is canonical: the length of each symbol's code says everything.
 * The last one is the end of the string, which must not occur.
 */
// biome-ignore format: a table
const codeLengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const endOfString = 256;

/** One row of 16 for each inner node of the code tree: what half a byte leads to. */
interface Automaton {
  next: Uint16Array;
  /** The symbol that half a byte completes, if any; no code is shorter than five bits. */
  symbol: Int16Array;
  /** Nodes at which a string may end: fewer than eight bits, all ones, since the last symbol. */
  isEnd: Uint8Array;
}

const broken = 0xffff;
let automaton: Automaton | undefined;

/** The text of a coded string, a character per byte; `undefined` when it is no such string. */
export function decodeHuffman(bytes: Uint8Array, from: number, to: number): string | undefined {
  automaton ??= buildAutomaton();
  const { next, symbol, isEnd } = automaton;
  let text = "";
  let node = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] as number;
    for (const half of [byte >> 4, byte & 15]) {
      const step = node * 16 + half;
      const found = symbol[step] as number;
      if (found >= 0) text += String.fromCharCode(found);
      node = next[step] as number;
      if (node === broken) return undefined;
    }
  }
  return isEnd[node] === 1 ? text : undefined;
}

/** A node is either inner, with two children, or a symbol. */
type Tree = [Branch, Branch];
type Branch = Tree | number | undefined;

function buildAutomaton(): Automaton {
  const root = buildTree();
  const nodes = innerNodes(root);
  const numbers = new Map(nodes.map((node, index) => [node, index]));
  const next = new Uint16Array(nodes.length * 16);
  const symbol = new Int16Array(nodes.length * 16).fill(-1);
  for (const [index, node] of nodes.entries()) {
    for (let half = 0; half < 16; half++) {
      const step = index * 16 + half;
      let at = node;
      for (let bit = 3; bit >= 0; bit--) {
        const branch = at[(half >> bit) & 1];
        if (typeof branch === "object") at = branch;
        else {
          symbol[step] = branch ?? endOfString;
          at = root;
        }
      }
      next[step] = symbol[step] === endOfString ? broken : (numbers.get(at) as number);
      if (symbol[step] === endOfString) symbol[step] = -1;
    }
  }
  return { next, symbol, isEnd: endsOf(root, numbers) };
}

function buildTree(): Tree {
  const root: Tree = [undefined, undefined];
  const symbols = codeLengths.map((length, symbol) => ({ length, symbol }));
  symbols.sort((one, other) => one.length - other.length || one.symbol - other.symbol);
  let code = 0;
  let before = 0;
  for (const { length, symbol } of symbols) {
    code *= 2 ** (length - before);
    before = length;
    place(root, code, length, symbol);
    code++;
  }
  return root;
}

function place(root: Tree, code: number, length: number, symbol: number): void {
  let node = root;
  for (let bit = length - 1; bit > 0; bit--) {
    const side = (code >>> bit) & 1;
    node[side] ??= [undefined, undefined];
    node = node[side] as Tree;
  }
  node[code & 1] = symbol;
}

function innerNodes(root: Tree): Tree[] {
  const nodes = [root];
  for (const node of nodes) for (const branch of node) if (typeof branch === "object") nodes.push(branch);
  return nodes;
}

function endsOf(root: Tree, numbers: Map<Tree, number>): Uint8Array {
  const isEnd = new Uint8Array(numbers.size);
  let node: Branch = root;
  for (let bits = 0; bits < 8 && typeof node === "object"; bits++) {
    isEnd[numbers.get(node) as number] = 1;
    node = node[1];
  }
  return isEnd;
}
