// Jobs of graphile-worker that insert two rows in a transaction each, with the settings that its
// documentation gives for the highest rate. Prints the jobs a second.
import pg from "pg";
import { Logger, makeWorkerUtils, run } from "graphile-worker";

const jobs = Number(process.argv[2]);
const pgPool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 30 });
await pgPool.query(`
  create table peer_events (id bigint primary key, body text not null);
  create table peer_scores (event bigint primary key, uid text not null, score int not null);
  create index peer_scores_uid on peer_scores (uid);
`);
const logger = new Logger(() => () => {});
const utils = await makeWorkerUtils({ pgPool, logger });
await utils.migrate();
await pgPool.query(
  `select graphile_worker.add_job(
     'two_inserts', json_build_object('id', n, 'body', repeat('x', 600)))
   from generate_series(1, $1::int) as n`,
  [jobs],
);
await pgPool.query("vacuum analyze");
await pgPool.query("checkpoint");

let done = 0;
let began;
let finish;
const finished = new Promise((resolve) => (finish = resolve));
const two_inserts = async ({ id, body }, { withPgClient }) => {
  began ??= performance.now();
  await withPgClient.withRetries(async (client) => {
    await client.query("begin");
    await client.query("insert into peer_events (id, body) values ($1, $2)", [id, body]);
    await client.query(
      "insert into peer_scores (event, uid, score) values ($1, $2, 500)",
      [id, String(id)],
    );
    await client.query("commit");
  });
  done += 1;
  if (done === jobs) finish(performance.now());
};
const runner = await run({
  pgPool,
  logger,
  noHandleSignals: true,
  taskList: { two_inserts },
  preset: {
    worker: {
      concurrentJobs: 24,
      pollInterval: 1000,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
});
const ended = await finished;
await runner.stop();
await utils.release();
await pgPool.end();
console.log((done / ((ended - began) / 1000)).toFixed(1));
process.exit(0);
