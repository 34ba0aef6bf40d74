"""Verifies a request of hookbox with the official library of Standard Webhooks for Python.

The argument is a JSON file with the headers and the body of the request, the keys that it is signed
with, and another key.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], encoding="utf-8") as file:
    request = json.load(file)
headers, body, keys = request["headers"], request["body"], request["keys"]
for key in keys:
    if Webhook(key).verify(body, headers) != json.loads(body):
        sys.exit("the library must return the event")
for key, text in [(request["other_key"], body), (keys[0], body + " ")]:
    try:
        Webhook(key).verify(text, headers)
    except WebhookVerificationError:
        continue
    sys.exit("another key and another body must not be verified")
print("verified")
