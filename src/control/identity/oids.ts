/** The names of X.509 that certificates of workloads are made of. */
export const oids = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  subjectKey: "2.5.29.14",
  authorityKey: "2.5.29.35",
  subjectAltName: "2.5.29.17",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
} as const;

/** Signatures that are believed, with the hash each is made with. */
export const trustedSignatures: ReadonlySet<string> = new Set([
  oids.ecdsaWithSha256,
  "1.2.840.10045.4.3.3", // ecdsa-with-SHA384
  "1.2.840.10045.4.3.4", // ecdsa-with-SHA512
  "1.3.101.112", // Ed25519
  "1.2.840.113549.1.1.11", // RSA with SHA-256
  "1.2.840.113549.1.1.12",
  "1.2.840.113549.1.1.13",
]);
