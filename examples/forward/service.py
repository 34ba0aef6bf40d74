"""A service that receives events from `forward`: it verifies the signature, and processes each event
once. In this folder:

    (umask 077; openssl rand -base64 32 > key)
    python3 -m venv venv
    venv/bin/pip install fastapi uvicorn standardwebhooks
    KEY=$(cat key) venv/bin/uvicorn service:app
"""

import os
import sqlite3

from fastapi import FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

app, webhook = FastAPI(), Webhook(os.environ["KEY"])
db = sqlite3.connect("orders.db")
db.execute("create table if not exists orders (key text primary key, body text) strict")


@app.post("/hooks")
async def receive(request: Request):
    body = await request.body()
    try:
        event = webhook.verify(body, dict(request.headers))
    except WebhookVerificationError as error:
        raise HTTPException(401, "wrong signature") from error
    with db:  # One transaction for the key and for all that you do with the event.
        new = db.execute(
            "insert into orders values (?, ?) on conflict do nothing",
            (request.headers["webhook-id"], body.decode()),
        ).rowcount
    return {"order": event["order"], "new": bool(new)}
