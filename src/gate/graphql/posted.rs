//! The JSON form of a GraphQL request: an object, or an array of them.
//!
//! A member that stands twice, and one that is not part of a request, make it unreadable: servers differ in which
//! of two they take, in whether letter case counts, and in what they look up documents by.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Requests of one batch.
const MOST_BATCHED: usize = 100;

/// Members of one object whose names are looked at.
const MOST_MEMBERS: usize = 64;

/// A request object, as far as it decides.
#[derive(Default)]
pub(super) struct GraphqlRequest<'a> {
    /// The document.
    pub(super) query: Option<Cow<'a, str>>,
    /// Which of its operations is to run.
    pub(super) operation_name: Option<Cow<'a, str>>,
}

/// The requests of a body. An empty batch is invalid.
pub(super) struct GraphqlBatch<'a>(pub(super) Vec<GraphqlRequest<'a>>);

/// What stands in `extensions`, where that leaves the document to be the one that runs.
pub(super) struct Extensions;

/// A string that borrows from the body where nothing in it is escaped.
struct Text<'a>(Cow<'a, str>);

struct TextVisitor;

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for GraphqlBatch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PostedVisitor)
    }
}

struct PostedVisitor;

impl<'de> Visitor<'de> for PostedVisitor {
    type Value = GraphqlBatch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a GraphQL request or a batch of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok(GraphqlBatch(vec![RequestVisitor.visit_map(map)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut requests = Vec::new();
        while let Some(request) = sequence.next_element()? {
            if requests.len() == MOST_BATCHED {
                return Err(A::Error::custom("too many requests in one batch"));
            }
            requests.push(request);
        }
        Ok(GraphqlBatch(requests))
    }
}

impl<'de> Deserialize<'de> for GraphqlRequest<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RequestVisitor)
    }
}

struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = GraphqlRequest<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a GraphQL request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut query, mut name) = (None, None);
        let (mut variables, mut extensions) = (None, None);
        let mut left = MOST_MEMBERS;
        while let Some(Text(member)) = map.next_key()? {
            left = left.checked_sub(1).ok_or_else(|| A::Error::custom("too many members"))?;
            let doubled = match &*member {
                "query" => query.replace(map.next_value::<Option<Text<'_>>>()?).is_some(),
                "operationName" => name.replace(map.next_value::<Option<Text<'_>>>()?).is_some(),
                "variables" => variables.replace(map.next_value::<IgnoredAny>()?).is_some(),
                "extensions" => extensions.replace(map.next_value::<Option<Extensions>>()?).is_some(),
                // Clients that know of stored documents say `"id": null` where there is none.
                _ => {
                    map.next_value::<()>()?;
                    false
                }
            };
            if doubled {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        let text = |member: Option<Option<Text<'de>>>| member.flatten().map(|text| text.0);
        Ok(GraphqlRequest { query: text(query), operation_name: text(name) })
    }
}

impl<'de> Deserialize<'de> for Extensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ExtensionsVisitor)
    }
}

struct ExtensionsVisitor;

impl<'de> Visitor<'de> for ExtensionsVisitor {
    type Value = Extensions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("extensions that name no stored document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut left = MOST_MEMBERS;
        while let Some(Text(member)) = map.next_key()? {
            left = left.checked_sub(1).ok_or_else(|| A::Error::custom("too many members"))?;
            let letters = member.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
            if letters.eq("persistedquery".chars()) {
                return Err(A::Error::custom("the document may be a stored one"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(Extensions)
    }
}
