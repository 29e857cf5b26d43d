//! The console at `/`, and the pages under `/_local`: the targets of links in mails, and the target of
//! `/.well-known/change-password`. They are plain files that call the API like any frontend; opening a page changes
//! nothing.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file under `/_local`.
#[derive(Clone, Copy)]
pub struct Page {
    /// Its path.
    pub path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

/// The console.
pub const CONSOLE: Page = Page {
    path: "/",
    content_type: HTML,
    content: include_str!("../console/console.html"),
};

/// All pages beneath `/_local`.
pub const PAGES: [Page; 16] = [
    Page {
        path: "/_local/console.css",
        content_type: CSS,
        content: include_str!("../console/console.css"),
    },
    Page {
        path: "/_local/console.js",
        content_type: JAVASCRIPT,
        content: include_str!("../console/console.js"),
    },
    Page {
        path: "/_local/console-activity.js",
        content_type: JAVASCRIPT,
        content: include_str!("../console/console-activity.js"),
    },
    Page {
        path: "/_local/console-data.js",
        content_type: JAVASCRIPT,
        content: include_str!("../console/console-data.js"),
    },
    Page {
        path: "/_local/console-dom.js",
        content_type: JAVASCRIPT,
        content: include_str!("../console/console-dom.js"),
    },
    Page {
        path: "/_local/console-passkeys.js",
        content_type: JAVASCRIPT,
        content: include_str!("../console/console-passkeys.js"),
    },
    Page {
        path: "/_local/console-try.js",
        content_type: JAVASCRIPT,
        content: include_str!("../console/console-try.js"),
    },
    Page {
        path: "/_local/reset-password",
        content_type: HTML,
        content: include_str!("../pages/reset-password.html"),
    },
    Page {
        path: "/_local/verify-email",
        content_type: HTML,
        content: include_str!("../pages/verify-email.html"),
    },
    Page {
        path: "/_local/sign-in",
        content_type: HTML,
        content: include_str!("../pages/sign-in.html"),
    },
    Page {
        path: "/_local/oauth",
        content_type: HTML,
        content: include_str!("../pages/oauth.html"),
    },
    Page {
        path: "/_local/reject-email",
        content_type: HTML,
        content: include_str!("../pages/reject-email.html"),
    },
    Page {
        path: "/_local/undo-two-factor",
        content_type: HTML,
        content: include_str!("../pages/undo-two-factor.html"),
    },
    Page {
        path: "/_local/change-password",
        content_type: HTML,
        content: include_str!("../pages/change-password.html"),
    },
    Page {
        path: "/_local/style.css",
        content_type: CSS,
        content: include_str!("../pages/style.css"),
    },
    Page {
        path: "/_local/link.js",
        content_type: JAVASCRIPT,
        content: include_str!("../pages/link.js"),
    },
];

impl Page {
    /// Returns the file as a response.
    pub fn answer(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.content));
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static(self.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    /// Returns the relative luminance of a colour such as `#1b1d21` or `#fff` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let digits = colour.trim_start_matches('#');
        let digits: String = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            _ => digits.to_owned(),
        };
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
            match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for the edges of fields and buttons.
    #[test]
    fn colours_have_contrast_in_both_themes() {
        for style in [
            include_str!("../console/console.css"),
            include_str!("../pages/style.css"),
        ] {
            let themes: Vec<&str> = style.split(":root {").skip(1).collect();
            assert_eq!(themes.len(), 2, "light and dark");
            for theme in themes {
                let (theme, _) = theme.split_once('}').unwrap();
                let colour = |name: &str| {
                    let (_, rest) = theme.split_once(&format!("--{name}: "))?;
                    Some(rest.split(';').next()?.trim())
                };
                for (front, least) in [
                    ("ink", 4.5),
                    ("quiet", 4.5),
                    ("accent", 4.5),
                    ("good", 4.5),
                    ("warn", 4.5),
                    ("bad", 4.5),
                    ("edge", 3.0),
                ] {
                    for back in ["page", "card"] {
                        // The pages of mailed links have no warnings.
                        let (Some(front), Some(back)) = (colour(front), colour(back)) else {
                            assert_eq!(front, "warn");
                            continue;
                        };
                        let ratio = contrast(front, back);
                        assert!(ratio >= least, "{front} on {back}: {ratio:.2}");
                    }
                }
                let (text, button) = (colour("on-accent").unwrap(), colour("accent").unwrap());
                assert!(contrast(text, button) >= 4.5, "{text} on {button}");
            }
        }
        assert!((contrast("#fff", "#000") - 21.0).abs() < 0.01);
    }
}
