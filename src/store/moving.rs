//! Copies a whole store into an empty one of either kind.

use super::pool::{LongTransaction, Row, Value};
use super::{Store, StoreError};

/// Rows read at once.
const PAGE: usize = 1000;

/// What a column holds.
#[derive(Clone, Copy)]
enum ColumnType {
    Text,
    Number,
    Flag,
    Bytes,
}
use ColumnType::{Bytes, Flag, Number, Text};

/// One step of a copy: a table, or a part of one.
struct CopyStep {
    table: &'static str,
    /// The key first.
    columns: &'static [(&'static str, ColumnType)],
    /// How many columns the key has; none where there is one row, which is there in every database.
    key: usize,
    /// Which rows; empty is all.
    only: &'static str,
    /// How a row is written, if not by inserting it.
    write: &'static str,
}

const fn all(table: &'static str, key: usize, columns: &'static [(&'static str, ColumnType)]) -> CopyStep {
    CopyStep { table, columns, key, only: "", write: "" }
}

/// In an order in which each row finds what it refers to. The state of running gateways is left out:
/// `gateways`, `doctor_probes` and `lost_rights`.
const STEPS: &[CopyStep] = &[
    all(
        "users",
        1,
        &[
            ("id", Text),
            ("username", Text),
            ("username_key", Text),
            ("email", Text),
            ("display_name", Text),
            ("role", Text),
            ("disabled", Flag),
            ("password", Text),
            ("must_change_password", Flag),
            ("password_changed_at", Number),
            ("created_at", Number),
        ],
    ),
    all("login_names", 1, &[("name_key", Text), ("user_id", Text)]),
    all("user_groups", 2, &[("user_id", Text), ("name", Text)]),
    all(
        "sessions",
        1,
        &[
            ("id", Text),
            ("digest", Bytes),
            ("user_id", Text),
            ("created_at", Number),
            ("last_seen_at", Number),
            ("expires_at", Number),
            ("client", Text),
            ("user_agent", Text),
            ("host", Text),
        ],
    ),
    CopyStep {
        table: "sessions",
        columns: &[("id", Text), ("parent_id", Text)],
        key: 1,
        only: "parent_id IS NOT NULL",
        write: "UPDATE sessions SET parent_id = $2 WHERE id = $1",
    },
    all(
        "handovers",
        1,
        &[
            ("digest", Bytes),
            ("session_id", Text),
            ("browser", Bytes),
            ("host", Text),
            ("path", Text),
            ("expires_at", Number),
        ],
    ),
    all(
        "api_keys",
        1,
        &[
            ("id", Text),
            ("digest", Bytes),
            ("name", Text),
            ("owner", Text),
            ("role", Text),
            ("paths", Text),
            ("methods", Text),
            ("networks", Text),
            ("created_at", Number),
            ("created_by", Text),
            ("expires_at", Number),
            ("last_used_at", Number),
            ("revoked_at", Number),
            ("revoked_by", Text),
            ("may_act_for_users", Flag),
        ],
    ),
    all(
        "identities",
        2,
        &[
            ("issuer", Text),
            ("subject", Text),
            ("subject_claim", Text),
            ("user_id", Text),
            ("provider", Text),
            ("email", Text),
            ("created_at", Number),
            ("last_login_at", Number),
        ],
    ),
    all(
        "provider_sessions",
        1,
        &[
            ("session_id", Text),
            ("provider", Text),
            ("issuer", Text),
            ("subject", Text),
            ("sub", Text),
            ("sid", Text),
        ],
    ),
    all(
        "provider_tokens",
        1,
        &[
            ("session_id", Text),
            ("provider", Text),
            ("id_token", Bytes),
            ("refresh_token", Bytes),
            ("in_use", Flag),
            ("due_at", Number),
            ("claim", Text),
            ("failing_since", Number),
        ],
    ),
    all("used_logout_tokens", 1, &[("digest", Bytes), ("expires_at", Number)]),
    all("used_sign_ins", 1, &[("digest", Bytes), ("expires_at", Number)]),
    all("attempts", 1, &[("name", Text), ("failures", Number), ("last_at", Number)]),
    all("setup_links", 1, &[("digest", Bytes), ("user_id", Text), ("expires_at", Number)]),
    all(
        "refused",
        7,
        &[
            ("route", Text),
            ("rule", Text),
            ("code", Text),
            ("credential", Text),
            ("client", Text),
            ("agent", Text),
            ("method", Text),
            ("times", Number),
            ("first_at", Number),
            ("last_at", Number),
            ("example", Text),
        ],
    ),
    all(
        "audit",
        1,
        &[
            ("seq", Number),
            ("happened_at", Number),
            ("event", Text),
            ("success", Flag),
            ("actor", Text),
            ("actor_name", Text),
            ("client", Text),
            ("request_id", Text),
            ("target", Text),
            ("target_name", Text),
            ("detail", Text),
            ("key_id", Text),
            ("previous", Bytes),
            ("link", Bytes),
        ],
    ),
    CopyStep {
        table: "audit_head",
        columns: &[("seq", Number), ("link", Bytes), ("pruned_to", Number), ("mark", Bytes)],
        key: 0,
        only: "",
        write: "UPDATE audit_head SET seq = $1, link = $2, pruned_to = $3, mark = $4",
    },
    CopyStep {
        table: "revision",
        columns: &[("value", Number)],
        key: 0,
        only: "",
        // Higher than any that a gateway has seen there.
        write: "UPDATE revision SET value = value + $1",
    },
];

/// One value, as it was read.
enum ColumnValue {
    Text(Option<String>),
    Number(Option<i64>),
    Flag(bool),
    Bytes(Vec<u8>),
}

impl ColumnValue {
    fn read(row: &Row, (name, kind): (&str, ColumnType)) -> Result<Self, StoreError> {
        Ok(match kind {
            Text => Self::Text(row.optional_text(name)?),
            Number => Self::Number(row.optional_number(name)?),
            Flag => Self::Flag(row.flag(name)?),
            Bytes => Self::Bytes(row.bytes(name)?),
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text.as_deref()),
            Self::Number(number) => Value::Number(*number),
            Self::Flag(flag) => Value::Flag(*flag),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

impl CopyStep {
    fn names(&self, count: usize) -> String {
        self.columns.iter().take(count).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn places(count: usize) -> String {
        (1..=count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
    }

    /// The next rows in the order of the key, after a row if there was one before.
    fn select(&self, goes_on: bool) -> String {
        let (columns, key) = (self.names(self.columns.len()), self.names(self.key));
        let after = goes_on.then(|| format!("({key}) > ({})", Self::places(self.key)));
        let conditions: Vec<&str> = [Some(self.only), after.as_deref()]
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .collect();
        let conditions = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let order = if self.key == 0 { String::new() } else { format!(" ORDER BY {key}") };
        format!("SELECT {columns} FROM {}{conditions}{order} LIMIT {PAGE}", self.table)
    }

    fn insert(&self) -> String {
        if !self.write.is_empty() {
            return self.write.to_owned();
        }
        let count = self.columns.len();
        format!("INSERT INTO {} ({}) VALUES ({})", self.table, self.names(count), Self::places(count))
    }

    /// Copies its rows; how many they were.
    async fn run(
        &self,
        from: &mut LongTransaction,
        to: &mut LongTransaction,
        progress: &mut impl FnMut(&'static str, u64),
    ) -> Result<u64, StoreError> {
        let insert = self.insert();
        let (mut count, mut last): (u64, Vec<ColumnValue>) = (0, Vec::new());
        loop {
            let after: Vec<Value<'_>> = last.iter().take(self.key).map(ColumnValue::value).collect();
            let rows = from.rows(&self.select(!after.is_empty()), &after).await?;
            for row in &rows {
                let cells: Result<Vec<ColumnValue>, _> =
                    self.columns.iter().map(|column| ColumnValue::read(row, *column)).collect();
                let cells = cells?;
                to.execute(&insert, &cells.iter().map(ColumnValue::value).collect::<Vec<_>>()).await?;
                count += 1;
                last = cells;
            }
            progress(self.table, count);
            if self.key == 0 || rows.len() < PAGE {
                return Ok(count);
            }
        }
    }
}

impl Store {
    /// Copies everything, as it is at this moment, into a store that holds nothing yet; how many rows of each table.
    /// Either all is there afterwards or nothing. `progress` is told the table and its rows so far.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotEmpty`] if the other store holds anything.
    pub async fn copy_to(
        &self,
        other: &Self,
        mut progress: impl FnMut(&'static str, u64),
    ) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let (mut from, mut to) = (self.pool.snapshot().await?, other.pool.filling().await?);
        for step in STEPS.iter().filter(|step| step.key > 0) {
            let any = format!("SELECT {} FROM {} LIMIT 1", step.names(1), step.table);
            if !to.rows(&any, &[]).await?.is_empty() {
                return Err(StoreError::NotEmpty { table: step.table });
            }
        }
        let mut copied = Vec::new();
        for step in STEPS {
            let count = step.run(&mut from, &mut to, &mut progress).await?;
            if step.key > 0 && step.write.is_empty() {
                copied.push((step.table, count));
            }
        }
        for (table, count) in &copied {
            let rows = to.rows(&format!("SELECT COUNT(*) AS total FROM {table}"), &[]).await?;
            let total = rows.first().map_or(Ok(0), |row| row.number("total"))?;
            if u64::try_from(total) != Ok(*count) {
                return Err(StoreError::Corrupt { table });
            }
        }
        to.commit().await?;
        Ok(copied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new table or column has to be copied too, or named here.
    #[tokio::test]
    async fn every_column_of_every_table_is_copied() {
        const ALL: &str = "SELECT m.name AS t, c.name AS c FROM sqlite_master m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, 2";
        let store = Store::open("sqlite::memory:", 1).await.unwrap();
        let left_out = ["_sqlx_migrations", "gateways", "doctor_probes", "lost_rights"];
        let mut missing = Vec::new();
        for row in store.pool.rows(ALL, &[]).await.unwrap() {
            let (table, column) = (row.text("t").unwrap(), row.text("c").unwrap());
            let named =
                |step: &CopyStep| step.table == table && step.columns.iter().any(|(name, _)| *name == column);
            if column != "only_row" && !left_out.contains(&table.as_str()) && !STEPS.iter().any(named) {
                missing.push(format!("{table}.{column}"));
            }
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
