//! The front ends of the system: where mailed links lead.

use url::Url;

use crate::config::Environment;
use crate::domain::origin;

/// The base URLs of the front ends. The first is the default.
pub struct Frontends {
    urls: Vec<Url>,
}

impl Frontends {
    /// Reads `FRONTEND_URL`: one or more URLs of different origins.
    pub fn from_env(environment: &mut Environment) -> Self {
        let urls = environment.page_urls("FRONTEND_URL");
        let mut origins: Vec<String> = urls.iter().map(origin::of).collect();
        origins.sort();
        if origins.windows(2).any(|pair| pair[0] == pair[1]) {
            environment
                .refuse("FRONTEND_URL has two URLs of one origin; a request chooses by its Origin");
        }
        Self { urls }
    }

    /// Returns the URL of the front end of this origin, without a slash at its end; the first one, if no front end has
    /// this origin.
    pub fn of(&self, origin: Option<&str>) -> &str {
        let is_meant = |url: &&Url| origin == Some(origin::of(url).as_str());
        let chosen = self.urls.iter().find(is_meant).or(self.urls.first());
        chosen.map_or("", |url| url.as_str().trim_end_matches('/'))
    }

    /// Returns the URLs; the first is the default.
    pub fn urls(&self) -> &[Url] {
        &self.urls
    }

    /// Returns the URL of the first front end, without a slash at its end.
    pub fn first(&self) -> &str {
        self.of(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(urls: &'static str) -> (Frontends, bool) {
        let lookup =
            move |name: &str| Some(if name == "FRONTEND_URL" { urls } else { "dev" }.to_owned());
        let mut environment = Environment::new(lookup);
        let frontends = Frontends::from_env(&mut environment);
        (frontends, environment.finish(()).is_ok())
    }

    #[test]
    fn an_origin_chooses_its_front_end_and_nothing_else() {
        let (frontends, is_valid) =
            read("https://app.example.com, https://admin.example.com:8443/a/, myapp://open");
        assert!(is_valid);
        for (origin, expected) in [
            (None, "https://app.example.com"),
            (Some("https://app.example.com"), "https://app.example.com"),
            (
                Some("https://admin.example.com:8443"),
                "https://admin.example.com:8443/a",
            ),
            (Some("myapp://open"), "myapp://open"),
            (Some("https://admin.example.com"), "https://app.example.com"),
            (Some("https://evil.example"), "https://app.example.com"),
            (Some("null"), "https://app.example.com"),
        ] {
            assert_eq!(frontends.of(origin), expected, "{origin:?}");
        }
        assert_eq!(frontends.first(), "https://app.example.com");
    }

    #[test]
    fn two_front_ends_of_one_origin_are_refused() {
        assert!(!read("https://app.example.com/a,https://app.example.com:443/b").1);
        assert!(read("https://app.example.com/a,http://app.example.com/b").1);
    }
}
