//! Common value types: each parses its text and describes what it accepts.

use std::net::SocketAddr;
use std::time::Duration;

use figment::value::Value;
use ipnet::IpNet;
use url::Host;

use super::description::{SettingType, brief};
use super::field::Read;
use super::invalid_value::InvalidValue;
use super::reader::SettingsReader;
use super::toml_values;
use crate::model::network;
use crate::model::secret::Secret;
use crate::model::session_cookie::SessionCookie;
use crate::model::target;
use crate::model::user;
use crate::policy::PathPattern;

impl Read for bool {
    const KIND: &'static SettingType = &SettingType::Flag;

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        if let Value::Bool(_, flag) = value {
            return Some(*flag);
        }
        reader.mismatch(value, path, Self::KIND);
        None
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Number<const LEAST: u64, const MOST: u64>(pub(in crate::config) u64);

impl<const LEAST: u64, const MOST: u64> Number<LEAST, MOST> {
    pub(in crate::config) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    pub(in crate::config) fn count(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const LEAST: u64, const MOST: u64> Read for Number<LEAST, MOST> {
    const KIND: &'static SettingType = &SettingType::Number { least: LEAST, most: MOST };

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        match toml_values::number(value) {
            Some(number) if (LEAST..=MOST).contains(&number) => return Some(Self(number)),
            None if !matches!(value, Value::Num(..)) => reader.mismatch(value, path, Self::KIND),
            _ => {
                let remedy = format!("write {}", Self::KIND.describe());
                reader.problem(path, "is out of range", remedy);
            }
        }
        None
    }
}

/// A duration within bounds, in seconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Span<const LEAST: u64, const MOST: u64>(pub(in crate::config) Duration);

impl<const LEAST: u64, const MOST: u64> Read for Span<LEAST, MOST> {
    const KIND: &'static SettingType = &SettingType::Duration { least: LEAST, most: MOST };

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        reader.parse(value, path, Self::KIND, |text| {
            let seconds =
                seconds(text).ok_or("is not a duration: write a number and s, m, h or d, such as \"30s\"")?;
            if seconds < LEAST {
                return Err(InvalidValue::new(
                    "is too short",
                    format!("write at least \"{}\"", brief(LEAST)),
                ));
            }
            if seconds > MOST {
                return Err(InvalidValue::new("is too long", format!("write at most \"{}\"", brief(MOST))));
            }
            Ok(Self(Duration::from_secs(seconds)))
        })
    }
}

fn seconds(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let size = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(size)
}

impl Read for Secret {
    const KIND: &'static SettingType = &SettingType::Secret { is_guarded: |_| true };

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        reader.parse(value, path, Self::KIND, |text| Ok(Self::new(text)))
    }
}

/// A type that is text in the file.
pub(in crate::config) trait FromText: Sized {
    /// What it is, in words that fit after "should be".
    const WHAT: &'static SettingType;

    fn from_text(text: &str) -> Result<Self, InvalidValue>;
}

impl<T: FromText> Read for T {
    const KIND: &'static SettingType = T::WHAT;

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        reader.parse(value, path, Self::KIND, T::from_text)
    }
}

/// Types whose text is parsed by a closure.
macro_rules! text {
    ($($type:ty, $what:literal, $parse:expr;)*) => {$(
        impl $crate::config::reading::FromText for $type {
            const WHAT: &'static $crate::config::reading::SettingType = &$crate::config::reading::SettingType::Text($what);

            fn from_text(text: &str) -> Result<Self, $crate::config::reading::InvalidValue> {
                let parse: fn(&str) -> Result<Self, $crate::config::reading::InvalidValue> = $parse;
                parse(text)
            }
        }
    )*};
}

pub(in crate::config) use text;

/// Types that are one of a few words.
macro_rules! choice {
    ($($type:ty { $($word:literal => $value:expr),* $(,)? })*) => {$(
        impl $crate::config::reading::FromText for $type {
            const WHAT: &'static $crate::config::reading::SettingType = &$crate::config::reading::SettingType::Choice(&[$($word),*]);

            fn from_text(text: &str) -> Result<Self, $crate::config::reading::InvalidValue> {
                match text {
                    $($word => Ok($value),)*
                    _ => Err($crate::config::reading::InvalidValue::new("is not one of the words allowed here", format!("write {}", Self::WHAT.describe()))),
                }
            }
        }
    )*};
}
pub(in crate::config) use choice;

/// A name for logs and references.
#[derive(Clone, Debug)]
pub(in crate::config) struct ReferenceName(pub(in crate::config) String);

/// Host name, lower-case, without port.
#[derive(Clone, Debug)]
pub(in crate::config) struct HostName(pub(in crate::config) String);

/// A path prefix in canonical form.
#[derive(Clone, Debug)]
pub(in crate::config) struct Prefix(pub(in crate::config) String);

text! {
    SocketAddr, "an address and port such as \"127.0.0.1:9464\"", |text| {
        text.parse().map_err(|_| "is not an address with a port: write an IP address, not a name, and a port, such as \"127.0.0.1:9464\"".into())
    };
    IpNet, "a network such as \"10.0.0.0/8\"", |text| network::parse(text).map_err(|_| {
        InvalidValue::new("is neither an address nor a network", "write one such as \"10.0.0.0/8\" or \"192.0.2.7\"")
    });
    ReferenceName, "a name", |text| match user::check_name(&text.replace('/', "-")) {
        Ok(()) => Ok(Self(text.to_owned())),
        Err(_) => Err("is not a name: write 1 to 128 visible characters without spaces and , ; : \" ' < > \\ %".into()),
    };
    HostName, "a host name without port", host_name;
    Prefix, "a path such as \"/app\"", prefix;
    PathPattern, "a path such as \"/api\" or \"/api/**\"", |text| Self::parse(text).map_err(InvalidValue::from);
    SessionCookie, "the name of a cookie", |text| Self::parse(text).map_err(|bad| bad.to_string().into());
}

fn host_name(text: &str) -> Result<HostName, InvalidValue> {
    let host = text.parse().map_or_else(|_| Host::parse(text), |address| Ok(Host::Ipv6(address)));
    match host {
        Ok(Host::Ipv6(address)) => Ok(HostName(address.to_string())),
        Ok(host) if !text.contains('*') => Ok(HostName(host.to_string().trim_end_matches('.').to_owned())),
        _ => {
            Err("is not a host name: write one without scheme, port and *, such as \"app.example.com\""
                .into())
        }
    }
}

fn prefix(text: &str) -> Result<Prefix, InvalidValue> {
    if text.contains('*') {
        let remedy = "put the pattern into a rule's `path`";
        return Err(InvalidValue::new("is a pattern, but routes take plain prefixes", remedy));
    }
    PathPattern::parse(text).map_err(InvalidValue::from)?;
    let canonical = target::canonical_path(text)
        .map_err(|error| InvalidValue::new(error.to_string(), "write one such as \"/app\""))?;
    let trimmed = canonical.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(&canonical);
    Ok(Prefix(trimmed.to_owned()))
}
