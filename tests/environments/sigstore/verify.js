// verify.js BUNDLE PUBLIC-KEY HINT [FILE]: ends with 0 when the bundle is good. Offline: no log, no timestamps.
const crypto = require("crypto");
const fs = require("fs");
const { bundleFromJSON } = require("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const [bundleFile, keyFile, hint, file] = process.argv.slice(2);
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundleFile, "utf8")));
const empty = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const publicKey = crypto.createPublicKey(fs.readFileSync(keyFile));
const keys = { [hint]: { rawBytes: publicKey.export({ type: "spki", format: "der" }) } };
const none = { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 };
const entity = toSignedEntity(bundle, file ? fs.readFileSync(file) : undefined);
try {
  new Verifier(toTrustMaterial(empty, keys), none).verify(entity);
  console.log("verified");
} catch (error) {
  console.log(`${error.code}: ${error.message}`);
  process.exit(1);
}
