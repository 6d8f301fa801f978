"""What route handlers get injected: the store, the labelling queue, the signed-in person.

The functions are coroutines so that FastAPI calls them directly instead of in a thread.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import Depends, FastAPI
from starlette.requests import Request

from annotator.accounts.sessions import CurrentUser
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.progress import ProgressCounter
from annotator.labelling.queue import Queue
from annotator.labels.routing import InformationRouter
from annotator.web.security import current_user
from db.store.session import Store


def provide(app: FastAPI, store: Store) -> None:
    """Set what the dependencies return for requests to `app`."""
    app.state.store = store
    app.state.queue = Queue(store, InformationRouter(store, ThreadPoolExecutor(1, "routing")))
    app.state.progress_counter = ProgressCounter()


async def get_store(request: Request) -> Store:
    """The store of the app."""
    store: Store = request.app.state.store
    return store


async def get_queue(request: Request) -> Queue:
    """The labelling queue of the app."""
    queue: Queue = request.app.state.queue
    return queue


async def get_progress_counter(request: Request) -> ProgressCounter:
    """The progress counter of the app."""
    counter: ProgressCounter = request.app.state.progress_counter
    return counter


async def get_current_user(request: Request) -> CurrentUser:
    """The person the request acts as; `AuthMiddleware` has authenticated it."""
    return current_user(request)


def lease_holder(user: CurrentUser, tab: str = "") -> LeaseHolder:
    """The person as the labelling queue knows them."""
    return LeaseHolder(user.id, tab, user.quota, user.study)


StoreDep = Annotated[Store, Depends(get_store)]
QueueDep = Annotated[Queue, Depends(get_queue)]
ProgressDep = Annotated[ProgressCounter, Depends(get_progress_counter)]
UserDep = Annotated[CurrentUser, Depends(get_current_user)]
