"""Verifies a request of hookbox with the official library of Standard Webhooks for Python.

The argument is the path of a JSON file. It contains the headers and the body of the request, the
keys with which the request is signed, and a key with which it is not signed.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], encoding="utf-8") as file:
    request = json.load(file)
headers, body, keys = request["headers"], request["body"], request["keys"]
for key in keys:
    if Webhook(key).verify(body, headers) != json.loads(body):
        sys.exit("the library must return the body of the request as JSON")
for key, text in [(request["other_key"], body), (keys[0], body + " ")]:
    try:
        Webhook(key).verify(text, headers)
    except WebhookVerificationError:
        continue
    sys.exit("the library must refuse another key and another body")
print("verified")
