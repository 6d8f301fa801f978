"""Serves the API with its middleware, without pages, for the attack on it."""

import sys

import uvicorn
from fastapi import FastAPI

from annotator.web import api
from annotator.web.security import AuthMiddleware
from db.store.session import Store

if __name__ == "__main__":
    url, port = sys.argv[1:]
    store = Store.open(url)
    app = FastAPI()
    api.add_api(app, store)
    app.add_middleware(AuthMiddleware, store=store, host="127.0.0.1")
    uvicorn.run(app, port=int(port), log_level="error", access_log=False)
