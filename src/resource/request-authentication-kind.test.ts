import { expect, test } from "bun:test";
import { checkResources } from "./load.ts";

const nothing = () => undefined;
const log = {
  ...{ debug: nothing, info: nothing, warn: nothing, error: nothing, fatal: nothing },
  scope: () => log,
};

async function read(spec: string): Promise<unknown> {
  const head = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: { name: x }";
  const files = [{ path: "a.yaml", bytes: Buffer.from(`${head}\nspec: ${spec}\n`) }];
  const checked = checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
  return checked.then(
    ({ others }) => others[0]?.spec,
    (error: Error) => error.message,
  );
}

test("a RequestAuthentication of Istio's is read as it is", async () => {
  const spec = `{ selector: { matchLabels: { app: httpbin } }, jwtRules: [{ issuer: "https://i", audiences: [a],
    fromHeaders: [{ name: X-Token, prefix: "jwt " }], outputPayloadToHeader: x-payload, timeout: 1s }] }`;
  expect(await read(spec)).toEqual({
    targets: [{ kind: "App", name: "httpbin" }],
    jwtRules: [
      {
        ...{ issuer: "https://i", audiences: ["a"], jwksUri: "", jwks: "", fromParams: [], fromCookies: [] },
        fromHeaders: [{ name: "x-token", prefix: "jwt " }],
        outputPayloadToHeader: "x-payload",
        ...{ outputClaimToHeaders: [], forwardOriginalToken: false, timeoutMs: 1000 },
      },
    ],
  });
});

test.each([
  ["{ audiences: [a] }", "issuer is missing"],
  ["{ issuer: me }", "needs jwks or jwksUri"],
  ["{ issuer: me, jwksUri: 'ftp://x' }", "must be an http or https address"],
  ["{ issuer: me, jwks: '{}' }", "is not a JSON Web Key Set"],
  ["{ issuer: me, jwks: '{\"keys\":[{}]}', jwksUri: 'https://x' }", "not both"],
  ["{ issuer: 'https://x', spaceDelimitedClaims: [a] }", "spaceDelimitedClaims is not implemented"],
  ["{ issuer: 'https://x', outputPayloadToHeader: 'a b' }", "no header that a policy may set"],
  ["{ issuer: 'https://x', outputPayloadToHeader: dapr-caller-app-id }", "no header that a policy may set"],
])("the rule %s is refused", async (rule, message) => {
  expect(await read(`{ jwtRules: [${rule}] }`)).toContain(message);
});
