//! Query parameters of a method ([`Params`]), the `limit` that most lists take ([`Limit`]), and CIDs ([`CidText`]).
//!
//! Rules (XR-4): repeated names make arrays, an empty value counts as absent, unknown names are ignored except for
//! `__proto__`, integers are decimal, booleans are `true` or `false`. Everything else is 400 `InvalidRequest` that names
//! the parameter.

use std::collections::BTreeMap;

use atproto::data::{Cid, cid};
use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor,
        value::{Error, MapAccessDeserializer, SeqDeserializer},
    },
};

use super::{XrpcError, input::PROTOTYPE};

/// Query parameters. The first thing that a method checks.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Params<T>, XrpcError> {
        parse(parts.uri.query().unwrap_or_default(), |name| name).map(Params)
    }
}

/// [`Params`] of the few methods that also take arrays as `name[]=` and `name[0]=`, because older servers did.
#[derive(Debug)]
pub struct LooseParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for LooseParams<T> {
    type Rejection = XrpcError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<LooseParams<T>, XrpcError> {
        parse(parts.uri.query().unwrap_or_default(), without_index).map(LooseParams)
    }
}

/// `name` of `name[]` and `name[12]`.
fn without_index(name: &str) -> &str {
    let index = name.strip_suffix(']').and_then(|name| name.rsplit_once('['));
    match index {
        Some((name, index)) if index.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

fn parse<T: DeserializeOwned>(query: &str, plain_name: fn(&str) -> &str) -> Result<T, XrpcError> {
    let mut values = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == PROTOTYPE {
            return Err(XrpcError::invalid_request("a parameter must not be called __proto__"));
        }
        if !value.is_empty() {
            values.entry(plain_name(&name).to_owned()).or_default().push(value.into_owned());
        }
    }
    T::deserialize(MapAccessDeserializer::new(Named { rest: values.into_iter(), current: None }))
        .map_err(|error| XrpcError::invalid_request(error.to_string()))
}

/// Walks the parameters; puts the name before whatever goes wrong with a value.
struct Named {
    rest: std::collections::btree_map::IntoIter<String, Vec<String>>,
    current: Option<(String, Vec<String>)>,
}

impl<'de> MapAccess<'de> for Named {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.rest.next();
        match &self.current {
            Some((name, _)) => seed.deserialize(name.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, values) = self.current.take().unwrap_or_default();
        seed.deserialize(Values(values))
            .map_err(|error| de::Error::custom(format_args!("parameter {name}: {error}")))
    }
}

/// A page size: 1 to `MAX`, `DEFAULT` when absent (with `#[serde(default)]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<const MAX: usize, const DEFAULT: usize>(usize);

impl<const MAX: usize, const DEFAULT: usize> Limit<MAX, DEFAULT> {
    /// Items on the page.
    pub fn get(self) -> usize {
        self.0
    }
}

impl<const MAX: usize, const DEFAULT: usize> Default for Limit<MAX, DEFAULT> {
    fn default() -> Self {
        Limit(DEFAULT)
    }
}

impl<'de, const MAX: usize, const DEFAULT: usize> Deserialize<'de> for Limit<MAX, DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let asked = i64::deserialize(deserializer)?;
        usize::try_from(asked)
            .ok()
            .filter(|limit| (1..=MAX).contains(limit))
            .map(Limit)
            .ok_or_else(|| de::Error::custom(format_args!("{asked} is not between 1 and {MAX}")))
    }
}

/// A CID as text.
#[derive(Clone, Copy, Debug)]
pub struct CidText(pub Cid);

impl<'de> Deserialize<'de> for CidText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CidText, D::Error> {
        let text = String::deserialize(deserializer)?;
        cid::parse(&text).map(CidText).map_err(de::Error::custom)
    }
}

impl Serialize for CidText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The values of one name; what they mean is decided by the type that asks for them.
struct Values(Vec<String>);

impl Values {
    fn one(&self) -> Result<&str, Error> {
        match self.0.as_slice() {
            [value] => Ok(value),
            values => Err(de::Error::custom(format_args!("given {} times, once is meant", values.len()))),
        }
    }

    fn integer(&self) -> Result<i64, Error> {
        let text = self.one()?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(de::Error::custom("must be an integer"));
        }
        text.parse().map_err(|_| de::Error::custom("is too large an integer"))
    }
}

impl<'de> IntoDeserializer<'de, Error> for Values {
    type Deserializer = Values;

    fn into_deserializer(self) -> Values {
        self
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_i64(self.integer()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Values {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.one()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.one()? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(de::Error::custom("must be true or false")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter().map(|value| Values(vec![value]))))
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.one()?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Example {
        name: String,
        #[serde(default)]
        limit: Limit<100, 50>,
        cursor: Option<i64>,
        #[serde(default)]
        cids: Vec<String>,
        reverse: Option<bool>,
        small: Option<u8>,
    }

    fn example() -> Example {
        Example { name: "a".into(), limit: Limit(50), cursor: None, cids: vec![], reverse: None, small: None }
    }

    #[test]
    fn parameters_follow_xr_4() {
        for (query, expected) in [
            ("name=a", example()),
            ("name=a&unknown=1&unknown=2", example()),
            ("name=a&limit=&cursor=&reverse=", example()),
            ("name=a&limit=100", Example { limit: Limit(100), ..example() }),
            ("name=a&cursor=-1", Example { cursor: Some(-1), ..example() }),
            ("cids=x&name=a&cids=y", Example { cids: vec!["x".into(), "y".into()], ..example() }),
            ("name=a&reverse=true", Example { reverse: Some(true), ..example() }),
            ("name=a%20b+c", Example { name: "a b c".into(), ..example() }),
            ("name=a&small=255", Example { small: Some(255), ..example() }),
        ] {
            assert_eq!(parse::<Example>(query, |name| name).expect(query), expected, "{query}");
        }
    }

    #[test]
    fn arrays_may_be_written_with_brackets_where_older_servers_took_them() {
        let query = "name=a&cids[]=x&cids[1]=y&cids=z&limit[]=7";
        let found = parse::<Example>(query, without_index).unwrap();
        assert_eq!((found.cids, found.limit), (vec!["x".into(), "y".into(), "z".into()], Limit(7)));
        assert_eq!(without_index("cids[a]"), "cids[a]");
        assert_eq!(without_index("cids]"), "cids]");
    }

    #[test]
    fn bad_parameters_are_refused_by_name() {
        for (query, named) in [
            ("", "name"),
            ("name=", "name"),
            ("name=a&name=b", "name"),
            ("name=a&limit=0", "limit"),
            ("name=a&limit=101", "limit"),
            ("name=a&limit=1.5", "limit"),
            ("name=a&limit=abc", "limit"),
            ("name=a&limit=99999999999999999999", "limit"),
            ("name=a&cursor=+1", "cursor"),
            ("name=a&cursor=-", "cursor"),
            ("name=a&reverse=1", "reverse"),
            ("name=a&reverse=TRUE", "reverse"),
            ("name=a&small=256", "small"),
            ("name=a&small=-1", "small"),
            ("name=a&__proto__=x", "__proto__"),
            ("name=a&%5F_proto__=", "__proto__"),
        ] {
            let error = parse::<Example>(query, |name| name).expect_err(query);
            assert!(format!("{error:?}").contains(named), "{query}: {error:?}");
            assert_eq!(error.status(), 400);
            assert_eq!(error.name(), "InvalidRequest");
        }
    }
}
