//! Marks of sign-ins, where there are as many as there may be.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use super::*;

/// As many marks as are kept, which end one after the other; `digest` makes 32 bytes of the number `i`.
fn filling(digest: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO used_sign_ins (digest, expires_at) SELECT {digest}, {} + i FROM n",
        NOW.0
    ))
}

/// However many strangers there are, the next sign-in goes on, and is used once.
async fn the_oldest_make_room(store: &Store) {
    for (number, expires) in [("a", 200_000), ("b", 300_000)] {
        let digest = TokenDigest::of(number);
        assert!(store.use_sign_in(digest, NOW, later(expires)).await.unwrap(), "{number}");
        assert!(!store.use_sign_in(digest, NOW, later(expires)).await.unwrap(), "{number} is marked");
    }
    let gone = store.purge_used_sign_ins(later(150)).await.unwrap();
    assert_eq!(gone, 50, "a hundred of the oldest were forgotten, and no others");
}

#[tokio::test]
async fn of_too_many_marks_the_oldest_make_room_in_sqlite() {
    let own = Database::in_file().await;
    let mut connection = SqliteConnection::connect(&own.url).await.unwrap();
    sqlx::query(filling("CAST(printf('%032d', i) AS BLOB)")).execute(&mut connection).await.unwrap();
    the_oldest_make_room(&own.store).await;
}

#[tokio::test]
async fn of_too_many_marks_the_oldest_make_room_in_postgres() {
    let own = Database::on_postgres().await;
    let mut connection = PgConnection::connect(&own.url).await.unwrap();
    let digest = "decode(lpad(i::text, 64, '0'), 'hex')";
    sqlx::query(filling(digest)).execute(&mut connection).await.unwrap();
    the_oldest_make_room(&own.store).await;
}
