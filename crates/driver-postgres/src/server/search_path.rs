//! Finds the schemas in which a session would look for hookbox's tables, but may not.
//!
//! PostgreSQL skips a schema of the `search_path` on which the role has no USAGE, without an error.
//! The tables in it then seem not to exist.

use sqlx::{Error, PgConnection};

/// Returns the schemas of the session's `search_path` on which its role has no USAGE, if hookbox's
/// tables are in one of them or may be. If the session finds a table of migrations, these are the
/// schemas before it that have one, too. If it finds none, these are the schemas that have one, and
/// those before the schema in which it would create tables.
pub(crate) async fn without_usage(c: &mut PgConnection) -> Result<Vec<String>, Error> {
    let (path, role): (String, String) =
        sqlx::query_as("select current_setting('search_path'), current_user::text")
            .fetch_one(&mut *c)
            .await?;
    sqlx::query_scalar(
        "select n.nspname::text
         from unnest($1::text[]) with ordinality as path (name, position)
         join pg_namespace n on n.nspname = path.name
         left join pg_class found on found.oid = to_regclass('_sqlx_migrations')
         left join pg_namespace place on place.oid = found.relnamespace
         cross join lateral (
             select exists (select from pg_class t
                            where t.relnamespace = n.oid and t.relname = '_sqlx_migrations')
                        as has_migrations) as of_schema
         where not has_schema_privilege(n.oid, 'USAGE')
           and (case when place.oid is null
                     then current_schema() is null
                          or path.position < array_position($1::text[], current_schema()::text)
                     else path.position < array_position($1::text[], place.nspname::text)
                          and has_migrations
                end
                or place.oid is null and has_migrations)
         order by path.position",
    )
    .bind(schemas(&path, &role))
    .fetch_all(c)
    .await
}

/// Returns the names of the schemas in a `search_path`, in its order. The name `$user` stands for
/// the schema with the name of the role.
fn schemas(path: &str, role: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut is_quoted = false;
    let mut rest = path.chars().peekable();
    while let Some(c) = rest.next() {
        if c == ',' && !is_quoted {
            names.push(String::new());
            continue;
        }
        let in_name = match c {
            '"' if is_quoted && rest.next_if_eq(&'"').is_some() => Some('"'),
            '"' => {
                is_quoted = !is_quoted;
                None
            }
            c if is_quoted => Some(c),
            c if c.is_whitespace() => None,
            c => Some(c.to_ascii_lowercase()),
        };
        if let Some(name) = names.last_mut() {
            name.extend(in_name);
        }
    }
    let named = names.into_iter().filter(|name| !name.is_empty());
    let meant = named.map(|name| match name.as_str() {
        "$user" => role.to_owned(),
        _ => name,
    });
    meant.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_of_a_path_are_in_its_order() {
        for (path, expect) in [
            ("\"$user\", public", &["hookbox", "public"][..]),
            ("inbox", &["inbox"][..]),
            (
                "In,\"In\" , \"a, \"\"b\"\"\"",
                &["in", "In", "a, \"b\""][..],
            ),
            ("\"\"", &[][..]),
            ("", &[][..]),
        ] {
            assert_eq!(schemas(path, "hookbox"), expect, "{path}");
        }
    }
}
