// The package's door for `import`; what is behind it is in src/. `require` gets otel-bridge-client.cjs, made of it.
export * from "./src/index.js";
