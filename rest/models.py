"""Answers kept for a while, so that a request whose answer was lost can be repeated."""

from __future__ import annotations

from django.db import models


class Reply(models.Model):
    """The answer to a POST with an `Idempotency-Key`, encrypted: it may hold a secret.

    Written in the transaction of the change itself, so either both exist or neither.
    """

    # SHA-256 of who asked what under which key; says nothing by itself.
    scope = models.CharField(max_length=64)
    # SHA-256 of query, organization and body: the key is good for the same request only.
    request = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    # The key of this row alone, wrapped by the KEK provider, and the answer under it.
    wrapped_key = models.TextField(blank=True)
    wrapped_answer = models.TextField(blank=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "replies"
        constraints = (models.UniqueConstraint(fields=["scope"], name="rest_reply_scope_uniq"),)

    def __str__(self) -> str:
        return f"reply {self.scope[:8]}"
