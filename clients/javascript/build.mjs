// Makes otel-bridge-client.cjs of src/, for `require`, and its types of those of the module: `npm run build`.
// Both are kept in the repository, so that the folder installs as it is; a test holds that they are up to date.
import { copyFile } from "node:fs/promises";
import { build } from "esbuild";

const to = process.argv[2] ?? ".";

await build({
  entryPoints: ["src/index.js"],
  outfile: `${to}/otel-bridge-client.cjs`,
  bundle: true,
  format: "cjs",
  platform: "neutral",
  target: "node20",
  charset: "utf8",
  legalComments: "none",
  banner: { js: "// Generated from src/ by build.mjs: change nothing here." },
});
await copyFile("otel-bridge-client.d.ts", `${to}/otel-bridge-client.d.cts`);
