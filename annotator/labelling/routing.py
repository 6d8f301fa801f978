"""What the queue asks of a router, which decides which items a person gets next."""

from typing import Protocol

from sqlalchemy import Connection

from annotator.labelling.leases import BatchPolicy, LeaseHolder
from db.schema import Decision


class Router(Protocol):
    """Leases items in the order "information"; `annotator.labels.routing` implements it."""

    def lease(
        self, connection: Connection, holder: LeaseHolder, policy: BatchPolicy, count: int
    ) -> list[int]:
        """Lease up to `count` items and return their positions, in the caller's transaction.

        Where it leases fewer, the queue goes on in the order of positions.
        """
        ...

    def record(self, batch: int, triple: int, person: int, decision: Decision) -> None:
        """Take note of a vote that has been stored."""
        ...
