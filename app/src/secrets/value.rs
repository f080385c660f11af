//! A secret's value: on its way in, and never out. Nothing prints it, no error quotes it, and its memory is wiped.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use zeroize::Zeroizing;

/// UTF-8 without NUL, at most 64 KiB, once `check` has passed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretValueError {
    #[error("At most 64 KiB.")]
    TooLong,
    #[error("A value can’t hold NUL.")]
    Nul,
}

impl SecretValue {
    /// Bytes.
    pub const MAX: usize = 64 << 10;

    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// As a form has it: where the browser sends line ends as CR LF, the person typed none.
    pub fn typed(self) -> Self {
        if self.0.contains("\r\n") { Self::new(self.0.replace("\r\n", "\n")) } else { self }
    }

    pub fn check(&self) -> Result<(), SecretValueError> {
        if self.0.len() > Self::MAX {
            Err(SecretValueError::TooLong)
        } else if self.0.contains('\0') {
            Err(SecretValueError::Nul)
        } else {
            Ok(())
        }
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// On its way up, in the body of a request.
impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// By hand: the messages of serde and of its formats quote what they did not expect. Asked for as `any`, so that whatever comes is
/// refused here and not by the format.
impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        fn no_text<E: de::Error>() -> Result<SecretValue, E> {
            Err(E::custom("a value is text, in quotes"))
        }
        impl<'de> de::Visitor<'de> for Text {
            type Value = SecretValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretValue, E> {
                Ok(SecretValue::new(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<SecretValue, E> {
                Ok(SecretValue::new(text))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretValue, E> {
                no_text()
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretValue, E> {
                no_text()
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretValue, E> {
                no_text()
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretValue, E> {
                no_text()
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_limits() {
        let value = |text: &str| SecretValue::new(text.to_owned());
        assert!(value("").check().is_ok() && value(&"x".repeat(SecretValue::MAX)).check().is_ok());
        assert_eq!(value(&"x".repeat(SecretValue::MAX + 1)).check(), Err(SecretValueError::TooLong));
        assert_eq!(value("a\0b").check(), Err(SecretValueError::Nul));
        assert_eq!(value("a\r\nb\rc").typed().expose(), "a\nb\rc");
    }

    #[test]
    fn nothing_quotes_a_value() {
        assert!(!format!("{:?}", SecretValue::new("canary".to_owned())).contains("canary"));
        for wrong in ["4711", "-4711", "4711.5", "[\"4711\"]", "{\"4711\":1}"] {
            let error = serde_json::from_str::<SecretValue>(wrong).unwrap_err().to_string();
            assert!(!error.contains("4711"), "{error}");
        }
    }
}
