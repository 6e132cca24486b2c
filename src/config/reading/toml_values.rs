//! TOML as figment's values, with the place of each.

use figment::value::{Dict, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::description::join;

/// A TOML table as figment's; `found` is told where each value inside it stands.
pub(super) fn convert_table(table: &DeTable<'_>, path: &str, found: &mut dyn FnMut(&str, usize)) -> Dict {
    let mut values = Dict::new();
    for (key, value) in table {
        let path = join(path, key.get_ref());
        found(&path, key.span().start);
        values.insert(key.get_ref().to_string(), convert(value, &path, found));
    }
    values
}

/// A TOML value as figment's; `found` is told where each value inside it stands.
fn convert(value: &Spanned<DeValue<'_>>, path: &str, found: &mut dyn FnMut(&str, usize)) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            let number = i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX);
            i64::try_from(number).map_or(Value::from(number), Value::from)
        }
        DeValue::Float(number) => Value::from(number.as_str().parse::<f64>().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let path = format!("{path}[{index}]");
                found(&path, item.span().start);
                convert(item, &path, found)
            })
            .collect::<Vec<_>>()
            .into(),
        DeValue::Table(table) => convert_table(table, path, found).into(),
    }
}

/// A whole document; `None` if it is not TOML.
pub(in crate::config) fn table(text: &str) -> Option<Dict> {
    DeTable::parse(text).ok().map(|table| convert_table(table.get_ref(), "", &mut |_, _| {}))
}

/// A value written as TOML, as in an environment variable.
pub(in crate::config) fn value(text: &str) -> Option<Value> {
    DeValue::parse(text).ok().map(|value| convert(&value, "", &mut |_, _| {}))
}

/// A whole number that is not negative.
pub(in crate::config) fn number(value: &Value) -> Option<u64> {
    let Value::Num(_, number) = value else { return None };
    number.to_u128_lossy().and_then(|number| u64::try_from(number).ok())
}
