//! A running ingest loses its access to RabbitMQ: its permission is revoked, its password is
//! changed, or its virtual host is deleted. The ingest logs the cause, retries with pauses, and
//! recovers by itself.

use std::time::{Duration, Instant};

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first pause between two attempts to connect. Later pauses are longer, up to
/// [`PAUSE_LONGEST`]. Hookbox shortens each pause by a random part of up to one half.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two attempts to connect.
const PAUSE_LONGEST: Duration = Duration::from_secs(3);

/// A part of RabbitMQ's error after a permission was revoked.
const REVOKED: &str = "refused for user 'hookbox'";

/// A part of RabbitMQ's error about a wrong password.
const UNKNOWN: &str = "Login was refused";

/// The text that ingest logs for each failed publish: as an error for the first failure, and at
/// level `debug` for later ones.
const LOGGED: &str = "nothing can be published";

/// A log filter with which the log also has the failures that are logged at level `debug`.
const EACH_TRY: &str = "hookbox_driver_rabbitmq=debug,info";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_permission_is_logged_and_publishing_resumes() {
    let world = World::start().await;
    let permit = ["set_permissions", "hookbox", ".*", ".*", ".*"];
    let revoke = || world.ctl(&["clear_permissions", "hookbox"]);
    world
        .refused(REVOKED, Duration::from_secs(10), revoke)
        .await;
    world.ctl(&permit);
    world.comes_back().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_or_virtual_host_is_logged_and_publishing_resumes() {
    let world = World::start().await;
    let lasts = Duration::from_secs(4);
    let url = world.rabbitmq.url().to_owned();
    let (account, _) = url.rsplit_once('@').unwrap();
    let (_, password) = account.rsplit_once(':').unwrap();
    let change = || {
        world.ctl(&["change_password", "hookbox", "another"]);
        world.ctl(&["close_all_connections", "the password is another one"]);
    };
    world.refused(UNKNOWN, lasts, change).await;
    assert!(
        !world.deployment.log().contains(password),
        "the log must not show a password"
    );
    world.ctl(&["change_password", "hookbox", password]);
    world.comes_back().await;

    let delete = || world.ctl(&["delete_vhost", "/"]);
    world.refused("vhost", lasts, delete).await;
    world.ctl(&["add_vhost", "/"]);
    world.ctl(&["set_permissions", "hookbox", ".*", ".*", ".*"]);
    // The queues were deleted together with the virtual host, and no service declares them by
    // itself.
    within(
        PATIENCE,
        "readiness must report the missing queues",
        async || {
            let why = world.shown.trouble("broker");
            why.is_some_and(|why| why.contains("is missing"))
        },
    )
    .await;
    world.deployment.run(&["queues", "declare", "--yes"]);
    world.comes_back().await;
    world.finish().await;
}

struct World {
    rabbitmq: RabbitmqServer,
    _postgres: PostgresServer,
    deployment: Deployment,
    shown: Shown,
    ingest: crate::deployment::Process,
}

impl World {
    async fn start() -> Self {
        let rabbitmq = RabbitmqServer::start().unwrap();
        let postgres = PostgresServer::start().unwrap();
        let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
        let shown = Shown::new();
        let words = ["ingest", "--log", EACH_TRY, "--metrics", &shown.address()];
        let ingest = deployment.start(&words);
        within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
        Self {
            rabbitmq,
            _postgres: postgres,
            deployment,
            shown,
            ingest,
        }
    }

    fn ctl(&self, words: &[&str]) {
        self.rabbitmq.ctl(words).unwrap();
    }

    /// Takes away ingest's access to RabbitMQ with the given function. Checks for the time `lasts`
    /// that readiness and log give the cause, and that ingest retries with pauses.
    async fn refused(&self, why: &str, lasts: Duration, take_away: impl FnOnce()) {
        let began = Instant::now();
        let before = self.deployment.log().len();
        take_away();
        let logged = || self.deployment.log()[before..].to_owned();
        within(
            PATIENCE,
            "readiness must give the cause, and the log must say that nothing can be published",
            async || {
                let trouble = self.shown.trouble("broker");
                trouble.is_some_and(|trouble| trouble.contains(why)) && logged().contains(LOGGED)
            },
        )
        .await;
        let shown = Instant::now();
        within(
            PATIENCE,
            "the test must observe ingest for the time `lasts` without its access to the broker",
            async || {
                assert!(
                    !self.shown.is_ready(),
                    "ingest must not be ready while RabbitMQ refuses its access ({why})"
                );
                shown.elapsed() > lasts
            },
        )
        .await;
        let logged = logged();
        let (tries, most) = (logged.matches(LOGGED).count(), tries_max(began.elapsed()));
        eprintln!("{why}: ingest tried to connect {tries} times, and may try {most} times");
        assert!(
            tries > 1,
            "ingest must try to connect more than once: {logged}"
        );
        assert!(
            tries <= most,
            "ingest may try to connect {most} times, but tried {tries} times: {logged}"
        );
        // Ingest may log one line for each try to connect, and one for the loss of each channel.
        assert!(logged.lines().count() <= 2 * most, "{logged}");
    }

    async fn comes_back(&self) {
        within(PATIENCE, "hookbox must be ready again", async || {
            self.shown.is_ready()
        })
        .await;
        self.deployment.run(&["send"]);
    }

    async fn finish(self) {
        self.ingest.stop();
        self.deployment.finish().await;
    }
}

/// Returns how many attempts to connect fit into this time if each pause is as short as possible.
fn tries_max(time: Duration) -> usize {
    let (mut tries, mut passed, mut pause) = (1, Duration::ZERO, PAUSE_FIRST);
    while passed < time {
        passed += pause / 2;
        pause = (pause * 2).min(PAUSE_LONGEST);
        tries += 1;
    }
    tries
}
