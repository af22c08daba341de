//! A bound that may be missing: `unlimited` where a person reads it, the plain `Option` in binary formats, which tell
//! nothing about what they hold.

/// How a missing bound is written.
const UNLIMITED: &str = "unlimited";

macro_rules! unlimited {
    ($(#[$doc:meta])* $name:ident, $value:ty, $visitor:path) => {
        $(#[$doc])*
        pub(crate) mod $name {
            use std::fmt;

            use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

            use super::UNLIMITED;

            /// Writes the bound as it is read back.
            pub(crate) fn format(bound: Option<$value>) -> String {
                bound.map_or_else(|| UNLIMITED.to_owned(), crate::text::$name::format)
            }

            pub(crate) fn serialize<S: Serializer>(bound: &Option<$value>, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return serializer.serialize_str(&format(*bound));
                }
                bound.serialize(serializer)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Option<$value>, D::Error> {
                if source.is_human_readable() {
                    return source.deserialize_any(UnlimitedVisitor);
                }
                Option::<$value>::deserialize(source)
            }

            struct UnlimitedVisitor;

            impl de::Visitor<'_> for UnlimitedVisitor {
                type Value = Option<$value>;

                fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    $visitor.expecting(formatter)?;
                    write!(formatter, " or \"{UNLIMITED}\"")
                }

                fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                    known($visitor.visit_u64::<E>(number), de::Unexpected::Unsigned(number))
                }

                fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                    known($visitor.visit_i64::<E>(number), de::Unexpected::Signed(number))
                }

                fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                    if text == UNLIMITED {
                        return Ok(None);
                    }
                    known($visitor.visit_str::<E>(text), de::Unexpected::Str(text))
                }
            }

            /// The value read, or an error that names `unlimited` too.
            fn known<E: de::Error>(read: Result<$value, E>, found: de::Unexpected<'_>) -> Result<Option<$value>, E> {
                read.map(Some).map_err(|_| E::invalid_value(found, &UnlimitedVisitor))
            }
        }
    };
}

unlimited!(
    /// A time, or none.
    duration,
    std::time::Duration,
    crate::text::duration::DurationVisitor
);
unlimited!(
    /// A size in bytes, or none.
    size,
    u64,
    crate::text::size::SizeVisitor
);
