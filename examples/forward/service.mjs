// A service that receives events from `forward`: it verifies the signature, and processes each event
// once. In this folder:
//
//     npm install express standardwebhooks
//     (umask 077; openssl rand -base64 32 > key)
//     KEY=$(cat key) node service.mjs

import { mkdirSync, writeFileSync } from "node:fs";
import express from "express";
import { Webhook } from "standardwebhooks";

const [app, webhook] = [express(), new Webhook(process.env.KEY)];
mkdirSync("orders", { recursive: true });

// The signature is over the bytes, so that the body must not be parsed before it is verified.
app.post("/hooks", express.raw({ type: "*/*", limit: "16mb" }), (request, response) => {
  let event;
  try {
    event = webhook.verify(request.body.toString(), request.headers);
  } catch {
    return response.status(401).json({ error: "wrong signature" });
  }
  try {
    // In a real service: a unique column, in the transaction of all that you do with the event.
    writeFileSync(`orders/${request.headers["webhook-id"]}`, request.body, { flag: "wx" });
    response.json({ order: event.order, new: true });
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    response.json({ order: event.order, new: false });
  }
});

app.listen(process.env.PORT ?? 8000, "127.0.0.1");
