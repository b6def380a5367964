"""The index server: one process per index deployment, speaking Pinecone's `VectorService` over
mutual TLS.

The durable truth is an encrypted record (`record.py`); the search index in memory (`engine.py`) is
disposable and rebuilt from it (`builder.py`). `index.py` keeps the two in step.
"""
