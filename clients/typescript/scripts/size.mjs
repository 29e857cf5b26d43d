// Prints the size of each entry, bundled, minified and compressed. Fails if the core is too large.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const MAX_CORE_BYTES = 6144;

for (const entry of ["index", "react", "next"]) {
  const { outputFiles } = await build({
    entryPoints: [`dist/${entry}.js`],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    write: false,
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${entry}: ${bytes} bytes (${outputFiles[0].contents.length} before gzip)`);
  if (entry === "index" && bytes > MAX_CORE_BYTES) {
    console.error(`The core is larger than ${MAX_CORE_BYTES} bytes.`);
    process.exitCode = 1;
  }
}
