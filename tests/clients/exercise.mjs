// The same by the official TypeScript client: node exercise.mjs NAME
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Pinecone } from "@pinecone-database/pinecone";

const name = process.argv[2];
const client = new Pinecone({ apiKey: process.env.PINECONE_API_KEY, controllerHostUrl: process.env.GATEWAY });
const until = async (condition, what) => {
  for (const deadline = Date.now() + 60_000; !(await condition()); await sleep(50)) {
    assert.ok(Date.now() < deadline, what);
  }
};

await client.createIndex({
  name, dimension: 4, metric: "cosine", spec: { serverless: { cloud: "aws", region: "us-east-1" } },
});
await until(async () => (await client.describeIndex(name)).status.ready, "never ready");
const model = await client.describeIndex(name);
assert.ok((await client.listIndexes()).indexes.some((index) => index.name === name));

const index = client.index({ host: `https://${model.host}`, namespace: "books" });
const records = Array.from({ length: 10 }, (_, n) => (
  { id: `v${n}`, values: [1, n / 10, 0.5, 0.25], metadata: { n, even: n % 2 === 0 } }));
await index.upsert({ records });
const found = await index.query({ vector: [1, 0.3, 0.5, 0.25], topK: 3, filter: { even: true }, includeMetadata: true });
assert.ok(["v2", "v4"].includes(found.matches[0].id));
assert.ok(found.matches.every((match) => match.metadata.even));
const fetched = await index.fetch({ ids: ["v3"] });
assert.deepEqual(Object.keys(fetched.records), ["v3"]);
const listed = await index.listPaginated({ prefix: "v" });
assert.equal(listed.vectors.length, 10);
await index.update({ id: "v3", metadata: { n: 33 } });
assert.equal((await index.fetch({ ids: ["v3"] })).records.v3.metadata.n, 33);
await index.deleteOne({ id: "v0" });
assert.equal((await index.describeIndexStats()).totalRecordCount, 9);
await index.deleteAll();
await client.deleteIndex(name);
await until(async () => !(await client.listIndexes()).indexes.some((found) => found.name === name), "not dropped");
console.log("ok");
