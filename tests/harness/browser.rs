//! A real, headless browser, controlled through the WebDriver protocol (W3C).

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::World;

/// The protocol's key for a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window; dropping this value ends it.
pub struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
    _profile: tempfile::TempDir,
}

/// Starts a system on this machine and a browser, if both are available.
pub async fn system_and_browser() -> Option<(World, Browser)> {
    let world = World::inside()?;
    Some((world, Browser::start().await?))
}

impl Browser {
    /// Starts the browser. Without chromedriver, reports the skipped test and returns `None`.
    pub async fn start() -> Option<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(driver) = command.spawn() else {
            crate::world::skip("chromedriver is not installed");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=1100,800".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let mut browser = Self {
            driver,
            http: reqwest::Client::new(),
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        browser.wait_for_driver(port).await;
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let capabilities = json!({ "capabilities": { "alwaysMatch": options } });
        let answer = browser.post("", capabilities).await;
        let id = answer["sessionId"].as_str().expect("a session");
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    async fn wait_for_driver(&self, port: u16) {
        let started = Instant::now();
        let url = format!("http://127.0.0.1:{port}/status");
        while self.http.get(&url).send().await.is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the driver does not answer"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self
            .http
            .post(format!("{}{path}", self.session))
            .json(&body);
        Self::value(request).await
    }

    async fn get(&self, path: &str) -> Value {
        Self::value(self.http.get(format!("{}{path}", self.session))).await
    }

    async fn value(request: reqwest::RequestBuilder) -> Value {
        let response = request.send().await.expect("the driver answers");
        let answer: Value = response.json().await.expect("JSON");
        answer["value"].clone()
    }

    /// Adds an authenticator with a user who consents to everything (WebDriver's extension of WebAuthn Level 3, 11).
    pub async fn add_authenticator(&self) {
        let authenticator = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserConsenting": true, "isUserVerified": true,
        });
        let id = self.post("/webauthn/authenticator", authenticator).await;
        assert!(id.is_string(), "{id}");
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        // A URL that differs only in its fragment would not reload the page.
        self.post("/url", json!({ "url": "about:blank" })).await;
        self.post("/url", json!({ "url": url })).await;
    }

    /// Returns the element that matches a CSS selector, once it exists.
    async fn element(&self, selector: &str) -> String {
        let started = Instant::now();
        loop {
            let query = json!({ "using": "css selector", "value": selector });
            let found = self.post("/element", query).await;
            if let Some(id) = found[ELEMENT].as_str() {
                return id.to_owned();
            }
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "no {selector}: {found}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/click"), json!({}))
            .await;
    }

    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(
            &format!("/element/{element}/value"),
            json!({ "text": text }),
        )
        .await;
    }

    /// Empties a field.
    pub async fn clear(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/clear"), json!({}))
            .await;
    }

    /// Waits until an element contains this text.
    pub async fn wait_for_text(&self, selector: &str, text: &str) {
        let started = Instant::now();
        loop {
            let element = self.element(selector).await;
            let seen = self.get(&format!("/element/{element}/text")).await;
            if seen.as_str().is_some_and(|seen| seen.contains(text)) {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{selector} says {seen}, not {text}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns an attribute of an element.
    pub async fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let element = self.element(selector).await;
        let value = self
            .get(&format!("/element/{element}/attribute/{name}"))
            .await;
        value.as_str().map(str::to_owned)
    }

    /// Switches to the frame that matches a selector, or back to the whole page.
    /// Returns a property of an element, such as the present value of a field.
    pub async fn property(&self, selector: &str, name: &str) -> Value {
        let element = self.element(selector).await;
        self.get(&format!("/element/{element}/property/{name}"))
            .await
    }

    pub async fn enter_frame(&self, selector: Option<&str>) {
        let id = match selector {
            Some(selector) => json!({ ELEMENT: self.element(selector).await }),
            None => Value::Null,
        };
        self.post("/frame", json!({ "id": id })).await;
    }

    /// Saves a screenshot of the page in the folder `target/screenshots`.
    pub async fn screenshot(&self, name: &str) {
        let picture = self.get("/screenshot").await;
        let picture = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            picture.as_str().expect("a picture"),
        );
        let folder = local::build::workspace().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture.unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // SIGTERM makes the driver end the browser as well.
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}
