//! The languages of mails, and the choice between them.

use serde::{Deserialize, Serialize};

/// A language of mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

impl Language {
    /// Returns the language that an `Accept-Language` header (RFC 9110, 12.5.4) prefers; English if it names none of
    /// these languages.
    pub fn accepted(header: &str) -> Self {
        let mut best = (Self::default(), 0.0);
        for range in header.split(',').take(32) {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let quality = parameters.trim().strip_prefix("q=").map(str::parse::<f32>);
            let quality = quality.unwrap_or(Ok(1.0)).unwrap_or(0.0);
            let primary = tag.trim().split('-').next().unwrap_or_default();
            if let Some(language) = Self::from_subtag(primary)
                && quality > best.1
            {
                best = (language, quality);
            }
        }
        best.0
    }

    fn from_subtag(subtag: &str) -> Option<Self> {
        match subtag.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "de" => Some(Self::De),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_preferred_language_by_example() {
        for (header, language) in [
            ("", Language::En),
            ("de", Language::De),
            ("de-AT,de;q=0.9,en;q=0.8", Language::De),
            ("en-US,en;q=0.9,de;q=0.8", Language::En),
            ("fr, de;q=0.5, en;q=0.4", Language::De),
            ("DE-ch", Language::De),
            ("de;q=0", Language::En),
            ("de;q=nonsense", Language::En),
            ("*", Language::En),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_a_problem(header in any::<String>()) {
            let _ = Language::accepted(&header);
        }
    }
}
