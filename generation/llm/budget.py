"""A spending limit that concurrent calls cannot exceed."""

import asyncio


class BudgetExceeded(Exception):  # noqa: N818 - the expected end of a run with a budget
    """The next call might cost more than what is left of the budget."""


class Budget:
    """Reserves the maximum cost of calls in flight, so that the limit is never exceeded.

    Amounts are in millionths of a dollar; `limit` None means no limit.
    """

    def __init__(self, limit: int | None, spent: int) -> None:
        self.limit, self.spent = limit, spent
        self._reserved = 0
        self._released = asyncio.Condition()

    async def reserve(self, max_cost: int) -> None:
        """Reserve the cost of a call, waiting for calls in flight to release theirs.

        Raises BudgetExceeded if the call would not fit even with nothing in flight.
        """
        async with self._released:
            while self.limit is not None and self.spent + self._reserved + max_cost > self.limit:
                if not self._reserved:
                    raise BudgetExceeded
                await self._released.wait()
            self._reserved += max_cost

    async def commit(self, max_cost: int, cost: int) -> None:
        """Replace a reservation of `max_cost` by the actual cost."""
        async with self._released:
            self._reserved -= max_cost
            self.spent += cost
            self._released.notify_all()
