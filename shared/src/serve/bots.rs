//! Bots by what they call themselves: crawlers, scanners and headless browsers, from the data of
//! Crawlerdex. It keeps the honest ones out; one that lies needs the WAF in front.
//!
//! The texts are searched as they stand: an automaton over three thousand of them would cost every
//! environment 25 ms and 13 MB before its first answer, and a request less than 0.1 ms.

use std::sync::LazyLock;

/// What is known, by its first text. Made by `infra/bots`, which says how a line is read.
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let lines = include_str!("bots.txt").lines();
    lines.filter_map(Known::read).collect()
});

/// Something that calls itself by these texts, in this order.
struct Known {
    /// No person and no app; otherwise a library for HTTP. Whoever uses one is a client: apps do.
    is_bot: bool,
    first: &'static str,
    further: Vec<&'static str>,
    is_at_start: bool,
    is_at_end: bool,
}

impl Known {
    fn read(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let (kind, anchors) = (fields.next()?, fields.next()?);
        Some(Self {
            is_bot: kind == "bot",
            first: fields.next()?,
            further: fields.collect(),
            is_at_start: anchors.contains('^'),
            is_at_end: anchors.contains('$'),
        })
    }

    /// Whether it stands at this place of the text.
    fn stands_at(&self, text: &str, start: usize) -> bool {
        let Some(mut rest) = text[start..].strip_prefix(self.first) else {
            return false;
        };
        for further in &self.further {
            let Some(at) = rest.find(further) else {
                return false;
            };
            rest = &rest[at + further.len()..];
        }
        (start == 0 || !self.is_at_start) && (rest.is_empty() || !self.is_at_end)
    }
}

/// Whether no person and no app calls itself this. What calls itself nothing is none either. Of several
/// names, the one that ends first counts; of those, the longest.
pub fn is_bot(user_agent: &str) -> bool {
    if user_agent.trim().is_empty() {
        return true;
    }
    let starts = user_agent.char_indices().map(|(start, _)| start);
    let found = starts.flat_map(|start| {
        let here = &user_agent[start..];
        let initial = &here[..here.chars().next().map_or(0, char::len_utf8)];
        let begin = KNOWN.partition_point(|known| known.first < initial);
        let same = KNOWN[begin..].iter();
        let same = same.take_while(move |known| known.first.starts_with(initial));
        let status = same.filter(move |known| known.stands_at(user_agent, start));
        status.map(move |known| (start + known.first.len(), start, known))
    });
    let first = found.min_by_key(|(end, start, _)| (*end, *start));
    first.is_some_and(|(_, _, known)| known.is_bot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_scanners_and_headless_browsers_are_bots() {
        for agent in [
            "",
            " ",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "GPTBot/1.0",
            "sqlmap/1.7.2#stable (https://sqlmap.org)",
            "Mozilla/5.00 (Nikto/2.1.6)",
            "Mozilla/5.0 zgrab/0.x",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
        ] {
            assert!(is_bot(agent), "{agent}");
        }
    }

    #[test]
    fn browsers_apps_and_http_libraries_are_clients() {
        for agent in [
            "curl/8.5.0",
            "okhttp/4.12.0",
            "axios/1.7.2",
            "Dart/3.4 (dart:io)",
            "node",
            "undici",
            "python-requests/2.31.0",
            "Go-http-client/2.0",
            "PostmanRuntime/7.39.0",
            "MyApp/3.1 (iPhone; iOS 17.5; Scale/3.00)",
            "MyApp/1 CFNetwork/1494.0.7 Darwin/23.4.0",
            "Alamofire/5.9.1",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
            "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        ] {
            assert!(!is_bot(agent), "{agent}");
        }
    }

    #[test]
    fn what_is_known_is_recognised_wherever_it_may_stand() {
        assert!(KNOWN.len() > 3000);
        assert!(KNOWN.is_sorted_by_key(|known| known.first));
        for known in KNOWN.iter() {
            let texts = [vec![known.first], known.further.clone()].concat();
            let text = texts.join(" 1 ");
            assert!(known.stands_at(&text, 0), "{text}");
            let (before, after) = (format!("x {text}"), format!("{text} x"));
            assert_eq!(known.stands_at(&before, 2), !known.is_at_start, "{text}");
            assert_eq!(known.stands_at(&after, 0), !known.is_at_end, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_agent_makes_it_panic(agent in proptest::prelude::any::<String>()) {
            is_bot(&agent);
        }
    }
}
