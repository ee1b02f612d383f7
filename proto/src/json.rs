//! The JSON form of the schema.
//!
//! Almost all of it is derived; by hand are only the two messages that hold a oneof (a key beside
//! others, instead of a nested object), enums as their names, and 63-bit integers as text.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, VariantAccess,
    Visitor,
};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize, Serialize as DeriveSerialize};

use crate::wire::envelope::Body;
use crate::wire::{Envelope, Push, push::Event};

pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(crate) fn is_unset(value: &i32) -> bool {
    *value == 0
}

/// Enums as their names.
pub(crate) mod names {
    macro_rules! by_name {
        ($module:ident, $name:ident) => {
            pub(crate) mod $module {
                use crate::wire::$name;

                pub(crate) fn serialize<S: serde::Serializer>(
                    value: &i32,
                    s: S,
                ) -> Result<S::Ok, S::Error> {
                    s.serialize_str($name::try_from(*value).unwrap_or_default().as_str_name())
                }

                pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
                    d: D,
                ) -> Result<i32, D::Error> {
                    let name = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
                    let value =
                        $name::from_str_name(&name).filter(|value| *value != $name::default());
                    value.map(i32::from).ok_or_else(|| {
                        let known: Vec<_> = (1..)
                            .map_while(|n| $name::try_from(n).ok())
                            .map(|v| v.as_str_name())
                            .collect();
                        serde::de::Error::custom(format_args!(
                            "unknown name `{name}`, expected one of {}",
                            known.join(", ")
                        ))
                    })
                }
            }
        };
    }
    by_name!(message_type, MessageType);
    by_name!(conversation_type, ConversationType);
    by_name!(role, Role);
    by_name!(fanout_mode, FanoutMode);
    by_name!(ack_status, AckStatus);
    by_name!(error_code, ErrorCode);
    by_name!(conversation_change, ConversationChange);
}

/// A 63-bit integer as decimal text.
pub(crate) mod decimal {
    pub(crate) fn serialize<S: serde::Serializer>(value: &i64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom(format_args!("`{text}` is not a decimal 63-bit integer"))
        })
    }
}

/// Bytes as standard base64.
pub(crate) mod base64 {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    pub(crate) fn serialize<S: serde::Serializer>(
        value: &bytes::Bytes,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(value))
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        d: D,
    ) -> Result<bytes::Bytes, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(Into::into).map_err(|e| serde::de::Error::custom(format_args!("not base64: {e}")))
    }
}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(DeriveSerialize)]
        struct Flat<'a> {
            #[serde(skip_serializing_if = "is_zero")]
            id: u64,
            #[serde(flatten)]
            body: &'a Option<Body>,
        }
        Flat { id: self.id, body: &self.body }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;

        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `id` and one command")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    if key == "id" {
                        envelope.id = map.next_value()?;
                    } else if envelope.body.is_some() {
                        return Err(de::Error::custom(format_args!(
                            "`{key}` beside another command: one object, one command"
                        )));
                    } else {
                        envelope.body =
                            Some(Body::deserialize(Keyed { key: &key, map: &mut map })?);
                    }
                }
                Ok(envelope)
            }
        }

        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// Reads an enum whose variant name is a map key that was already read.
struct Keyed<'k, A> {
    key: &'k str,
    map: &'k mut A,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Keyed<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Keyed<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), A::Error> {
        Ok((seed.deserialize(self.key.into_deserializer())?, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Keyed<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.map.next_value()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        _visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(de::Error::custom("expected an object"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(de::Error::custom("expected an object"))
    }
}

impl Serialize for Push {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.event.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Push {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { event: Some(Event::deserialize(deserializer)?) })
    }
}
