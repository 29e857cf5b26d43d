//! The pages under `/_local`: an inbox, the targets of links in mails, a second factor to try out, and the target of
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
pub const PAGES: [Page; 15] = [
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
        path: "/_local/console-try.js",
        content_type: JAVASCRIPT,
        content: include_str!("../console/console-try.js"),
    },
    Page {
        path: "/_local/",
        content_type: HTML,
        content: include_str!("../pages/inbox.html"),
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
        path: "/_local/two-factor",
        content_type: HTML,
        content: include_str!("../pages/two-factor.html"),
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
