//! A hundred thousand people, keys and sessions: how both databases find what every statement of the store asks for,
//! and that nothing is left out where there is so much.
//!
//! The statements are read from the source, all of them, so that none can be forgotten. What was found is written to
//! `plans-sqlite.txt` and `plans-postgres.txt` in the target's folder for temporary files.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use doorward::config::{SameSite, SessionConfig};
use doorward::service::composition::{ServiceConfig, Services};
use doorward::service::identities::ReservedNames;
use doorward::service::touches;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use tokio::sync::watch;

use super::*;

const MANY: usize = 100_000;
/// Sessions used at once: far more than wait to be written.
const USED: usize = 20_000;

/// Tables that grow with people and their doings. The others have a bound of their own: one row each (`revision`,
/// `audit_head`), 32 (`doctor_probes`), one for each gateway, 4096 (`lost_rights`), 10 000 (`refused`), 100 000 for ten minutes
/// (`used_sign_ins`, `used_logout_tokens`).
const BIG: [&str; 11] = [
    "users",
    "login_names",
    "user_groups",
    "sessions",
    "api_keys",
    "audit",
    "attempts",
    "handovers",
    "identities",
    "provider_sessions",
    "provider_tokens",
];

/// Statements that may begin to read a big table without knowing where, by how they begin, and why.
const ALLOWED: &[(&str, &str)] = &[
    (
        "SELECT only_row FROM audit_head WHERE EXISTS",
        "the first row there is, whichever, where the trail is empty",
    ),
    ("SELECT id FROM users LIMIT 1", "the first row there is, whichever"),
    ("SELECT COUNT(*) AS total FROM audit", "a trail that is broken already, looked through by a command"),
    (
        "SELECT seq, happened_at, event, success, actor, actor_name, client, request_id, target, target_name, detail, key_id, previous, link FROM audit ORDER BY seq DESC LIMIT",
        "the newest rows, from the end on",
    ),
    ("UPDATE api_keys SET last_used_at = $1 WHERE last_used_at > $2", REIN_IN),
    ("UPDATE provider_tokens SET due_at = $1 WHERE due_at > $2", REIN_IN),
];

/// What statements are about that only one of the two databases understands.
const OF_ONE: [&str; 3] = ["pg_backend_pid", "sqlite_master", "to_regclass"];

/// Upkeep of each ten minutes, off the request line, which looks for times that are still to come.
const REIN_IN: &str = "of a clock that was set back, each ten minutes";

/// What a source file is made of, as far as statements go.
enum Token {
    Text(String),
    Word(String),
    Sign(char),
}

/// Takes a file apart up to its tests.
fn tokens(source: &str) -> Vec<Token> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or(' ');
    let (mut tokens, mut index) = (Vec::new(), 0);
    while index < chars.len() {
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '\'' if at(index + 1) == '\\' || at(index + 2) == '\'' => {
                index += 2;
                while at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            }
            '"' => {
                let mut text = String::new();
                index += 1;
                while at(index) != '"' {
                    if at(index) == '\\' {
                        index += 1;
                    }
                    text.push(at(index));
                    index += 1;
                }
                index += 1;
                tokens.push(Token::Text(text.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::new();
                while at(index).is_alphanumeric() || at(index) == '_' {
                    word.push(at(index));
                    index += 1;
                }
                tokens.push(Token::Word(word));
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Sign(c));
                }
                index += 1;
            }
        }
    }
    tokens
}

/// Every statement of the store, in one line each.
fn statements() -> Vec<String> {
    fn files(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut sources = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store"), &mut sources);
    let files: Vec<Vec<Token>> = sources.iter().map(|source| tokens(source)).collect();
    let mut lists = HashMap::new();
    for window in files.iter().flat_map(|file| file.windows(9)) {
        if let [Token::Word(what), Token::Sign('!'), Token::Word(name), _, _, _, _, _, _] = window
            && what == "macro_rules"
            && let Some(Token::Text(text)) = files.iter().find_map(|file| after(file, name))
        {
            lists.insert(name.clone(), text.clone());
        }
    }
    let mut found = Vec::new();
    for file in &files {
        let mut rest = file.as_slice();
        while let [first, more @ ..] = rest {
            rest = more;
            let text = match (first, more) {
                (Token::Word(word), [Token::Sign('!'), Token::Sign('('), parts @ ..]) if word == "concat" => {
                    let (text, left) = joined(parts, &lists);
                    rest = left;
                    text
                }
                (Token::Text(text), _) => text.clone(),
                _ => continue,
            };
            let verb = text.split(' ').next().unwrap();
            // A copy of the store reads whole tables, by texts that are made for each.
            let is_whole = text.contains('{');
            if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb)
                && text.contains(' ')
                && !is_whole
                && !OF_ONE.iter().any(|word| text.contains(word))
            {
                found.push(text);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The text that a macro without parameters stands for.
fn after<'t>(file: &'t [Token], name: &str) -> Option<&'t Token> {
    let at = file.windows(3).position(|window| {
        matches!(window, [Token::Word(what), Token::Sign('!'), Token::Word(own)]
            if what == "macro_rules" && own == name)
    })?;
    file.get(at + 3..at + 12)?.iter().find(|token| matches!(token, Token::Text(_)))
}

/// What the parts of a `concat!` make together, and what comes after it.
fn joined<'t>(mut parts: &'t [Token], lists: &HashMap<String, String>) -> (String, &'t [Token]) {
    let mut text = String::new();
    let mut add = |piece: &str| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(piece);
    };
    loop {
        parts = match parts {
            [Token::Text(piece), rest @ ..] => {
                add(piece);
                rest
            }
            [Token::Word(name), Token::Sign('!'), Token::Sign('('), Token::Sign(')'), rest @ ..] => {
                add(lists.get(name).unwrap_or_else(|| panic!("{name}! is not a list of columns")));
                rest
            }
            [Token::Sign(','), rest @ ..] => rest,
            [Token::Sign(')'), rest @ ..] => return (text, rest),
            _ => panic!("a statement is made of something else than texts and lists of columns: {text}"),
        };
    }
}

/// By which names a statement calls big tables.
fn big_tables(sql: &str) -> HashMap<&str, &str> {
    let words: Vec<&str> = sql.split([' ', '(', ')', ',']).filter(|word| !word.is_empty()).collect();
    let mut called = HashMap::new();
    for (index, word) in words.iter().enumerate() {
        if let Some(table) = BIG.iter().find(|table| *table == word) {
            called.insert(*table, *table);
            if let Some(alias) = words.get(index + 1).filter(|alias| alias.len() == 1) {
                called.insert(alias, table);
            }
        }
    }
    called
}

/// How many `$n` a statement has.
fn parameters(sql: &str) -> usize {
    (1..20).take_while(|n| sql.contains(&format!("${n}"))).count()
}

fn is_allowed(sql: &str) -> bool {
    ALLOWED.iter().any(|(beginning, _)| sql.starts_with(beginning))
}

/// Fails if a statement reads a big table from its beginning, which is what the lines of `scans` say.
fn check(database: &str, plans: &[(String, Vec<String>)], scans: impl Fn(&str, &[String]) -> Vec<String>) {
    let mut table = String::new();
    let mut bad = Vec::new();
    for (sql, plan) in plans {
        writeln!(table, "{sql}\n    {}\n", plan.join("\n    ")).unwrap();
        let found = scans(sql, plan);
        if !found.is_empty() && !is_allowed(sql) {
            bad.push(format!("{sql}\n    {}", plan.join("\n    ")));
        }
    }
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plans-{database}.txt")), table)
        .unwrap();
    assert!(bad.is_empty(), "{} statements read a whole table:\n{}", bad.len(), bad.join("\n"));
}

fn sqlite_scans(sql: &str, plan: &[String]) -> Vec<String> {
    let big = big_tables(sql);
    let is_scan = |line: &&String| {
        let mut words = line.split_whitespace();
        words.next() == Some("SCAN") && words.next().is_some_and(|name| big.contains_key(name))
    };
    plan.iter().filter(is_scan).cloned().collect()
}

fn postgres_scans(sql: &str, plan: &[String]) -> Vec<String> {
    let big: HashSet<&str> = big_tables(sql).into_values().collect();
    let reads = |line: &str| big.iter().any(|table| line.contains(&format!(" on {table}")));
    let mut found = Vec::new();
    for (index, line) in plan.iter().enumerate() {
        let conditions = plan.iter().skip(index + 1).take_while(|line| !line.contains("->"));
        let by_index = conditions.clone().any(|line| line.contains("Index Cond:"));
        // An index in its order, up to a limit, with nothing left out on the way.
        let in_order = plan.iter().take(index).any(|line| line.contains("Limit"))
            && !conditions.clone().any(|line| line.contains("Filter:"));
        let index_scan = line.contains("Index Scan") || line.contains("Index Only Scan");
        if reads(line) && (line.contains("Seq Scan") || (index_scan && !by_index && !in_order)) {
            found.push(line.clone());
        }
    }
    found
}

/// A number of each, by the same statements for both databases; `digest` makes bytes of a number.
fn filling(digest: &str) -> Vec<String> {
    let many = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})");
    let now = NOW.0;
    let from_n = |table: &str, values: &str| format!("{many} INSERT INTO {table} SELECT {values} FROM n");
    vec![
        from_n(
            "users (id, username, username_key, email, role, disabled, password, must_change_password, created_at)",
            &format!(
                "'u' || i, 'user' || i, 'user' || i, 'user' || i || '@example.org',
                 CASE WHEN i <= 10 THEN 'admin' ELSE 'viewer' END, FALSE, CASE WHEN i % 2 = 0 THEN '$hash' END,
                 FALSE, {now} - i"
            ),
        ),
        from_n("login_names (name_key, user_id)", "'user' || i, 'u' || i"),
        from_n("user_groups (user_id, name)", "'u' || i, 'g' || (i % 50)"),
        from_n(
            "sessions (id, digest, user_id, created_at, last_seen_at, expires_at, client, user_agent, parent_id)",
            &format!(
                "'s' || i, {digest}, 'u' || i, {now} - i, {now} - i, {now} + 1000000 - i, '192.0.2.1', 'b',
                 CASE WHEN i % 10 = 0 THEN 's' || (i - 1) END"
            ),
        ),
        from_n(
            "api_keys (id, digest, name, owner, role, paths, methods, networks, created_at, created_by,
             expires_at, revoked_at, revoked_by, may_act_for_users)",
            &format!(
                "'k' || i, {digest}, 'key' || i, CASE WHEN i % 2 = 0 THEN 'u' || i END, 'viewer', '', '', '',
                 {now} - i, 'cli', CASE WHEN i % 5 = 0 THEN {now} + i END,
                 CASE WHEN i % 3 = 0 THEN {now} - i END, CASE WHEN i % 3 = 0 THEN 'cli' END, FALSE"
            ),
        ),
        from_n(
            "audit (seq, happened_at, event, success, actor, actor_name, client, target, target_name, detail,
             key_id, previous, link)",
            &format!(
                "i, {now} - {MANY} + i, 'e' || (i % 10), TRUE, 'user:u' || (i % 1000), 'user' || (i % 1000),
                 '192.0.2.1', 'session:s' || i, CASE WHEN i % 3 = 0 THEN 'user' || i END, '{{}}', 'key', {digest}, {digest}"
            ),
        ),
        from_n(
            "identities (issuer, subject, subject_claim, user_id, provider, created_at, last_login_at)",
            &format!("'https://idp.example', 'i' || i, 'sub', 'u' || i, 'sso', {now} - i, {now} - i"),
        ),
        from_n(
            "provider_sessions (session_id, provider, issuer, subject, sub, sid)",
            "'s' || i, 'sso' || (i % 50), 'https://idp.example', 'i' || i, 'i' || i,
             CASE WHEN i % 2 = 0 THEN 'sid' || i END",
        ),
        from_n(
            "provider_tokens (session_id, provider, id_token, refresh_token, in_use, due_at)",
            &format!("'s' || i, 'sso' || (i % 50), {digest}, {digest}, i % 3 = 0, {now} + i"),
        ),
        from_n("attempts (name, failures, last_at)", &format!("'ip:' || i, 1, {now} - i")),
        from_n(
            "handovers (digest, session_id, browser, host, path, expires_at)",
            &format!("{digest}, 's' || i, {digest}, 'app.example', '/', {now} + i"),
        ),
        "ANALYZE".to_owned(),
    ]
}

/// K15: ten thousand keys, and ten times as many.
#[tokio::test]
async fn with_a_hundred_thousand_of_each_sqlite_reads_no_whole_table_and_nothing_is_left_out() {
    let own = Database::in_file().await;
    let mut connection = SqliteConnection::connect(&own.url).await.unwrap();
    for sql in filling("CAST(printf('%032d', i) AS BLOB)") {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    let mut plans = Vec::new();
    for sql in statements() {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        plans.push((sql, rows.iter().map(|row| row.get::<String, _>("detail")).collect()));
    }
    assert!(plans.len() > 60, "{} statements were found", plans.len());
    check("sqlite", &plans, sqlite_scans);
    nothing_is_left_out(&own.store).await;
}

#[tokio::test]
async fn with_a_hundred_thousand_of_each_postgres_reads_no_whole_table_and_nothing_is_left_out() {
    let own = Database::on_postgres().await;
    let mut connection = PgConnection::connect(&own.url).await.unwrap();
    for sql in filling("convert_to(lpad(i::text, 32, '0'), 'UTF8')") {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    // As for a statement that was asked often, whatever its values.
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut connection).await.unwrap();
    let mut plans = Vec::new();
    for sql in statements() {
        // The only one whose parameters stand where nothing says what they are.
        let types = if sql.starts_with("INSERT INTO sessions") {
            "(text, bytea, text, bigint, bigint, bigint, text, text, text, text)"
        } else if sql.starts_with("INSERT INTO handovers") {
            "(bytea, text, bytea, text, text, bigint)"
        } else if sql.starts_with("INSERT INTO provider_sessions") {
            "(text, text, text, text, text)"
        } else if sql.starts_with("INSERT INTO provider_tokens") {
            "(text, bytea, bytea, bigint)"
        } else if sql.starts_with("INSERT INTO user_groups") {
            "(text, text)"
        } else {
            ""
        };
        let values = vec!["NULL"; parameters(&sql)].join(", ");
        let values = if values.is_empty() { values } else { format!("({values})") };
        let prepare = format!("PREPARE asked {types} AS {sql}");
        let prepared = sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await;
        prepared.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE asked {values}"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await.unwrap();
        sqlx::raw_sql("DEALLOCATE asked").execute(&mut connection).await.unwrap();
        plans.push((sql, rows.iter().map(|row| row.get::<String, _>(0)).collect()));
    }
    check("postgres", &plans, postgres_scans);
    nothing_is_left_out(&own.store).await;
}

/// Lists go to their end, what is old is found, and as many sessions as are used stay in use.
async fn nothing_is_left_out(store: &Store) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let by = by();
    let session = SessionConfig {
        idle: Duration::from_hours(24 * 365),
        absolute: Duration::from_hours(24 * 365),
        cookie_same_site: SameSite::Lax,
        cookie_domain: None,
    };
    let config = ServiceConfig {
        session,
        providers: Vec::new(),
        reserved_names: ReservedNames::default(),
        breach_list: None,
    };
    let services = Services::new(store.clone(), &master_key(), Arc::clone(&clock), config);
    let Services { accounts, api_keys: keys, sessions, audit, .. } = services;
    let distinct = |ids: Vec<String>| ids.into_iter().collect::<HashSet<_>>().len();
    let people = accounts.list(&by).await.unwrap();
    assert_eq!(distinct(people.into_iter().map(|user| user.id.0).collect()), MANY);
    let all = keys.list(&by, None).await.unwrap();
    assert_eq!(distinct(all.into_iter().map(|key| key.id).collect()), MANY);
    let open = sessions.list(&by, None).await.unwrap();
    assert_eq!(distinct(open.into_iter().map(|(session, _)| session.id).collect()), MANY);

    let old = keys.named(&by, &format!("key{}", MANY - 2)).await.unwrap();
    assert_eq!(old.unwrap().key_id(), Some(format!("k{}", MANY - 2).as_str()), "far from the newest");
    assert_eq!(keys.named(&by, "key99").await.unwrap(), None, "it was revoked");

    let audit = (audit, Duration::ZERO);
    let (touches, upkeep) =
        touches::channel(watch::channel(sessions.clone()).1, keys, audit, store.clone(), clock);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(upkeep.run(async move {
        let _ = stopped.await;
    }));
    let used = NOW;
    for number in 1..=USED {
        // As the next request of the session does, where there was no room.
        until("room in the queue", async || touches.session(&format!("s{number}"), used)).await;
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    let open = sessions.list(&by, None).await.unwrap();
    assert!(open.iter().filter(|(session, _)| session.last_seen_at == used).count() >= USED);
}
