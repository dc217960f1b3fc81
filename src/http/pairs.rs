//! Names and values, of a query or a form, as types of the application.

use std::{borrow::Cow, str::FromStr};

use serde_core::{
    de::{
        Deserializer, Error as _, IntoDeserializer, Visitor,
        value::{Error, MapDeserializer, SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// All pairs. Values with the same name are adjacent and in their order.
pub(super) struct Pairs<'a>(Vec<Pair<'a>>);

impl<'a> Pairs<'a> {
    /// Sorts by name. Comparing every name with every other would take minutes for a form with half a
    /// million names.
    pub(super) fn new(pairs: impl Iterator<Item = Pair<'a>>) -> Self {
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(pairs)
    }
}

impl<'de> Deserializer<'de> for Pairs<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let groups = self.0.chunk_by(|(one, _), (next, _)| one == next);
        visitor.visit_map(MapDeserializer::new(
            groups.map(|pairs| (pairs[0].0.as_ref(), Values { pairs })),
        ))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The values of one name; there is at least one.
#[derive(Clone, Copy)]
struct Values<'p> {
    pairs: &'p [Pair<'p>],
}

impl<'p> Values<'p> {
    fn name(self) -> &'p str {
        &self.pairs[0].0
    }

    fn one(self) -> Result<&'p str, Error> {
        match self.pairs {
            [(_, value)] => Ok(value),
            _ => Err(Error::custom(format_args!("`{}` is given more than once", self.name()))),
        }
    }

    fn parse<T: FromStr>(self, what: &str) -> Result<T, Error> {
        let value = self.one()?;
        value.parse().map_err(|_| self.mismatch(what, value))
    }

    /// NaN and infinity are Rust's spelling and no input of a user's.
    fn finite<T: FromStr + Copy + Into<f64>>(self) -> Result<T, Error> {
        let number: T = self.parse("a number")?;
        match number.into().is_finite() {
            true => Ok(number),
            false => Err(self.mismatch("a number", self.one()?)),
        }
    }

    #[cold]
    fn mismatch(self, what: &str, value: &str) -> Error {
        Error::custom(format_args!("`{}` must be {what}, not \"{value}\"", self.name()))
    }

    /// Adds the name to an error of the visitor, which does not know it.
    fn named<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| Error::custom(format_args!("`{}`: {error}", self.name())))
    }
}

impl<'de> IntoDeserializer<'de, Error> for Values<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $what:literal;)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                let number = self.parse($what)?;
                self.named(visitor.$visit(number))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.one()?;
        self.named(visitor.visit_str(value))
    }

    whole_numbers! {
        deserialize_i8 visit_i8 "a whole number of 8 bits";
        deserialize_i16 visit_i16 "a whole number of 16 bits";
        deserialize_i32 visit_i32 "a whole number";
        deserialize_i64 visit_i64 "a whole number";
        deserialize_i128 visit_i128 "a whole number";
        deserialize_u8 visit_u8 "a whole number from 0 to 255";
        deserialize_u16 visit_u16 "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 "a whole number";
        deserialize_u64 visit_u64 "a whole number";
        deserialize_u128 visit_u128 "a whole number";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = self.finite()?;
        self.named(visitor.visit_f32(number))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = self.finite()?;
        self.named(visitor.visit_f64(number))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = match self.one()? {
            "true" | "on" => true,
            "false" => false,
            other => return Err(self.mismatch("true or false", other)),
        };
        self.named(visitor.visit_bool(value))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.pairs {
            [(_, value)] if value.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let each = self.pairs.chunks(1).map(|pairs| Values { pairs });
        SeqDeserializer::new(each).deserialize_seq(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let value: StrDeserializer<'_, Error> = self.one()?.into_deserializer();
        self.named(value.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct map struct identifier
    }
}
