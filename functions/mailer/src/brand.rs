//! The look of the mails: the application's name, a colour, a logo, and a line at the end.

use serde::{Serialize, Serializer};
use shared::config::Environment;

/// The button's colours where none is configured.
const DEFAULT: Button = Button {
    light: Colours {
        background: Colour(0x1f, 0x5f, 0xd6),
        text: WHITE,
    },
    dark: Colours {
        background: Colour(0x4c, 0x8d, 0xff),
        text: DARK,
    },
};
const WHITE: Colour = Colour(0xff, 0xff, 0xff);
const DARK: Colour = Colour(0x0b, 0x15, 0x26);
/// The maximum length of the line at the end, in characters.
const MAX_FOOTER: usize = 300;

/// The look of the mails.
#[derive(Serialize)]
pub struct Brand {
    /// The application's name.
    pub application: String,
    /// The button's colours.
    pub button: Button,
    /// The address of the logo.
    pub logo: Option<String>,
    /// The last line, such as the company's postal address.
    pub footer: Option<String>,
}

/// A colour in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(u8, u8, u8);

/// The colours of the button in light and in dark mode.
#[derive(Serialize)]
pub struct Button {
    light: Colours,
    dark: Colours,
}

/// The colours of a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Colours {
    /// The button's.
    pub background: Colour,
    /// Its text's.
    pub text: Colour,
}

impl Brand {
    /// Reads `APP_NAME`, `BRAND_COLOR`, `LOGO_URL` and `MAIL_FOOTER`.
    pub fn from_env(environment: &mut Environment) -> Self {
        let colour = environment.optional("BRAND_COLOR", "a colour such as #1f5fd6", Colour::parse);
        let logo = environment.optional("LOGO_URL", "an https: URL", |text| {
            let url = url::Url::parse(text).ok()?;
            (url.scheme() == "https").then(|| url.to_string())
        });
        let footer = environment.optional("MAIL_FOOTER", "one line of 300 characters", |text| {
            let is_line = text.chars().count() <= MAX_FOOTER && !text.contains(char::is_control);
            is_line.then(|| text.to_owned())
        });
        Self {
            application: environment.text("APP_NAME"),
            button: colour.map_or(DEFAULT, |background| {
                let text = background.text();
                let colours = Colours { background, text };
                Button {
                    light: colours,
                    dark: colours,
                }
            }),
            logo,
            footer,
        }
    }

    /// Returns the default look with an application's name.
    #[cfg(test)]
    pub fn of(application: &str) -> Self {
        Self {
            application: application.to_owned(),
            button: DEFAULT,
            logo: None,
            footer: None,
        }
    }
}

impl Colour {
    /// Parses `#1f5fd6`.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        let is_hex = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u32::from_str_radix(digits, 16).ok())??;
        let [_, red, green, blue] = number.to_be_bytes();
        Some(Self(red, green, blue))
    }

    /// Returns the colour of text on this one that has more contrast.
    fn text(self) -> Self {
        let contrast = |text: Self| {
            let (a, b) = (text.luminance(), self.luminance());
            (a.max(b) + 0.05) / (a.min(b) + 0.05)
        };
        match contrast(WHITE) >= contrast(DARK) {
            true => WHITE,
            false => DARK,
        }
    }

    /// Returns the relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let channel = |value: u8| {
            let value = f64::from(value) / 255.0;
            match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * channel(self.0) + 0.7152 * channel(self.1) + 0.0722 * channel(self.2)
    }
}

impl Serialize for Colour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buttons_text_can_be_read_on_every_colour() {
        for (background, text) in [
            ("#000000", WHITE),
            ("#1f5fd6", WHITE),
            ("#ffffff", DARK),
            ("#ffd400", DARK),
            ("#4c8dff", DARK),
        ] {
            let colour = Colour::parse(background).unwrap();
            assert_eq!(colour.text(), text, "{background}");
            assert_eq!(colour.to_string(), background);
        }
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for bad in [
            "",
            "red",
            "1f5fd6",
            "#1f5fd",
            "#1f5fd6;}",
            "#+f5fd6",
            "#ffff",
        ] {
            assert_eq!(Colour::parse(bad), None, "{bad}");
        }
    }
}
