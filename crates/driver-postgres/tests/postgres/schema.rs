//! The schema dump in the repository (`schemas/postgres.sql`) must equal the schema that the
//! migrations create.

use hookbox_driver_postgres::testing::{Database, dump_schema};

use crate::world::environment;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/postgres.sql");

#[tokio::test]
async fn migrations_up_from_empty_equal_the_dump() {
    let database = Database::create().await.unwrap();
    hookbox_driver_postgres::migrate(database.options(&environment()))
        .await
        .unwrap();
    let dump = dump_schema(database.url()).await.unwrap();
    assert!(dump.contains("CREATE TABLE claims"), "{dump}");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(PATH, &dump).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        committed == dump,
        "schemas/postgres.sql differs from the schema that the migrations create; run this test \
         with UPDATE_SCHEMAS=1 and read the difference"
    );
}
