// Verifies a request of hookbox with the official library of Standard Webhooks for JavaScript.
//
// The argument is the path of a JSON file. It contains the headers and the body of the request, the
// keys with which the request is signed, and a key with which it is not signed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const request = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const { headers, body, keys } = request;
for (const key of keys) {
  assert.deepEqual(new Webhook(key).verify(body, headers), JSON.parse(body));
}
for (const [key, text] of [[request.other_key, body], [keys[0], `${body} `]]) {
  assert.throws(() => new Webhook(key).verify(text, headers), WebhookVerificationError);
}
console.log("verified");
