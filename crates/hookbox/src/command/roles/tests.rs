//! Tests how roles are made, and how they end.

use std::time::Duration;

use super::*;

fn drain(all: Duration) -> Drain {
    Drain::new(all, Duration::ZERO)
}

const LONG: Duration = Duration::from_secs(20);

async fn until(shutdown: CancellationToken) {
    shutdown.cancelled().await;
}

#[tokio::test]
async fn a_role_that_ends_by_itself_stops_the_others() {
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(until(shutdown.clone()));
    running.spawn(async { panic!("this role must end with a panic") });
    let end = supervise(&mut running, &shutdown, &Monitored::hidden(), drain(LONG)).await;
    assert_eq!(end, exit::INTERNAL);
    assert!(shutdown.is_cancelled() && running.is_empty());
}

#[tokio::test]
async fn a_signal_drains_all() {
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(until(shutdown.clone()));
    running.spawn(until(shutdown.clone()));
    shutdown.cancel();
    let end = supervise(&mut running, &shutdown, &Monitored::hidden(), drain(LONG)).await;
    assert_eq!(end, exit::OK);
    assert!(running.is_empty());
}

#[tokio::test]
async fn a_role_that_panics_while_it_drains_is_an_internal_error() {
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    let (stopped, panics) = (until(shutdown.clone()), until(shutdown.clone()));
    running.spawn(stopped);
    running.spawn(async {
        panics.await;
        panic!("this role must end with a panic");
    });
    shutdown.cancel();
    let end = supervise(&mut running, &shutdown, &Monitored::hidden(), drain(LONG)).await;
    assert_eq!(end, exit::INTERNAL);
}

/// The signal and the end of the role may be seen in either order, by chance.
#[tokio::test]
async fn a_role_that_panics_with_the_signal_is_an_internal_error() {
    for _ in 0..50 {
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let role = running.spawn(async { panic!("this role must end with a panic") });
        while !role.is_finished() {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
        let end = supervise(&mut running, &shutdown, &Monitored::hidden(), drain(LONG)).await;
        assert_eq!(end, exit::INTERNAL);
    }
}

#[tokio::test]
async fn what_does_not_drain_is_cut() {
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(std::future::pending());
    shutdown.cancel();
    let end = supervise(
        &mut running,
        &shutdown,
        &Monitored::hidden(),
        drain(Duration::from_millis(10)),
    )
    .await;
    assert_eq!(end, exit::FAILED);
}

const CONFIG: &str = r#"
environment = "test"
[store]
url = "sqlite:hookbox.db"
[broker]
url = "sqlite:hookbox.db"
[ingest]
listen = "127.0.0.1:0"
[[source]]
name = "begini"
preset = "begini"
schemas = "schemas"
secrets = [{ id = "a", file = "key" }]
"#;

/// The worker must have its schemas before the process can be ready. If it read them later, it
/// could still fail, although senders already use the process.
#[tokio::test]
async fn schemas_are_read_before_the_process_waits_for_anything() {
    let name = format!("hookbox-roles-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let schemas = folder.join("schemas");
    std::fs::create_dir_all(&schemas).unwrap();
    std::fs::write(schemas.join("unknown.json"), "{}").unwrap();
    std::fs::write(folder.join("key"), "a-key-for-tests-of-roles").unwrap();
    std::fs::write(folder.join("hookbox.toml"), CONFIG).unwrap();
    let handlers = Registry::built_in();
    let config = Config::load(&folder.join("hookbox.toml"), &handlers.kinds()).unwrap();
    compose::create_files(&config).await.unwrap();
    let roles = Roles {
        ingest: true,
        worker: Some(WorkerRole::of_all_routes(&handlers)),
    };
    let shutdown = CancellationToken::new();
    let opened = open(&config, &roles, shutdown.clone(), &Log::default()).await;
    let opened = opened
        .unwrap()
        .expect("the roles must be opened, because no signal came");
    std::fs::remove_dir_all(&schemas).unwrap();
    let listening = listen(&config).await.unwrap();
    shutdown.cancel();
    let end = serve_roles(config, opened, Some(listening), None).await;
    assert_eq!(end.expect("all roles must be made"), exit::OK);
    std::fs::remove_dir_all(&folder).unwrap();
}
