//! Bots by what they call themselves: crawlers, scanners and headless browsers, from the data of
//! Crawlerdex. It keeps the honest ones out; one that lies needs the WAF in front.

/// How the data tags libraries for HTTP. Whoever uses one is a client: apps do.
const LIBRARY: &str = "http-library";

/// Whether no person and no app calls itself this. What calls itself nothing is none either.
pub fn is_bot(user_agent: &str) -> bool {
    if user_agent.trim().is_empty() {
        return true;
    }
    iscrawl::crawler_info(user_agent)
        .is_some_and(|known| !known.tags.iter().any(|tag| tag == LIBRARY))
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
}
