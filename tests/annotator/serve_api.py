"""The API behind its gate, without pages: what the chaos test starts and kills."""

import sys

import uvicorn
from fastapi import FastAPI

from annotator.web import api, errors
from annotator.web.security import AuthMiddleware
from db.store.session import Store

if __name__ == "__main__":
    url, port = sys.argv[1:]
    store = Store.open(url)
    app = FastAPI()
    errors.add_exception_handlers(app)
    app.include_router(api.routes(store))
    app.add_middleware(AuthMiddleware, store=store, host="127.0.0.1")
    uvicorn.run(app, port=int(port), log_level="error", access_log=False)
