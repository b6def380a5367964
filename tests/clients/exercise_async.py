"""The same by the asynchronous Python client: python exercise_async.py NAME"""

from __future__ import annotations

import asyncio
import os
import sys

from pinecone import AsyncPinecone


async def main(name: str) -> None:
    async with AsyncPinecone(
        api_key=os.environ["PINECONE_API_KEY"],
        host=os.environ["GATEWAY"],
        ssl_ca_certs=os.environ["CA_FILE"],
    ) as client:
        # Waits until it is ready, as the client does by default.
        model = await client.indexes.create(
            name=name,
            dimension=4,
            metric="dotproduct",
            spec={"serverless": {"cloud": "aws", "region": "us-east-1"}},
        )
        assert model.status.ready, model
        described = await client.indexes.describe(name)
        assert name in [found.name async for found in client.indexes.list()]
        async with await client.index(host=described.host) as index:
            vectors = [{"id": f"v{n}", "values": [1.0, float(n), 0.0, 0.0]} for n in range(5)]
            assert (await index.upsert(vectors=vectors)).upserted_count == 5
            found = await index.query(vector=[0.0, 1.0, 0.0, 0.0], top_k=2)
            assert [match.id for match in found.matches] == ["v4", "v3"], found
            fetched = await index.fetch(ids=["v1"])
            assert list(fetched.vectors) == ["v1"]
            await index.update(id="v1", values=[9.0, 9.0, 9.0, 9.0])
            found = await index.query(vector=[0.0, 1.0, 0.0, 0.0], top_k=1)
            assert found.matches[0].id == "v1", found
            ids = [item.id async for page in index.list(prefix="v") for item in page.vectors]
            assert ids == [f"v{n}" for n in range(5)], ids
            await index.delete(ids=["v0"])
            assert (await index.describe_index_stats()).total_vector_count == 4
        await client.indexes.delete(name)
        assert not await client.indexes.exists(name)
    print("ok")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
