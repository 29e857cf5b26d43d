//! The name of a client in a mail.

/// Returns the known browser and system that a user agent names. The rest of the text is not quoted: a stranger
/// controls it, and the mail may go to somebody who does not know that stranger.
pub fn known(user_agent: &str) -> Option<String> {
    // The order matters: most user agents name other browsers as well.
    const BROWSERS: [(&str, &str); 5] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let known = |names: &[(&str, &'static str)]| {
        let mut names = names.iter();
        names
            .find(|(token, _)| user_agent.contains(token))
            .map(|(_, name)| *name)
    };
    match (known(&BROWSERS), known(&SYSTEMS)) {
        (Some(browser), Some(system)) => Some(format!("{browser}, {system}")),
        (browser, system) => browser.or(system).map(str::to_owned),
    }
}
