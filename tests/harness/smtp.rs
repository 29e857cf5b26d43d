//! A real SMTP server with a certificate of its own certificate authority.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use local::build;
use serde_json::Value;

use crate::tls::Certificates;

/// The password that the server expects; its special characters must survive the URL.
const PASSWORD: &str = "p@ss:w/rd %";

/// A running server; dropping this value ends it.
pub struct SmtpServer {
    process: Child,
    scheme: &'static str,
    port: u16,
    mails: Arc<Mutex<Vec<Value>>>,
    /// The server's certificate authority, in PEM.
    pub ca: String,
    _folder: tempfile::TempDir,
}

impl SmtpServer {
    /// Starts a server that requires STARTTLS.
    pub fn with_starttls() -> Option<Self> {
        Self::start("starttls", "smtp")
    }

    /// Starts a server that speaks TLS from the first byte.
    pub fn with_implicit_tls() -> Option<Self> {
        Self::start("tls", "smtps")
    }

    fn start(mode: &str, scheme: &'static str) -> Option<Self> {
        let Some(python) = python() else {
            crate::world::skip("Python's aiosmtpd is not installed");
            return None;
        };
        let certificates = Certificates::of("localhost");
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut process = Command::new(python)
            .arg(build::workspace().join("tests/harness/smtp_server.py"))
            .arg(mode)
            .arg(file("certificate.pem", &certificates.certificate))
            .arg(file("key.pem", &certificates.key))
            .arg(PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().expect("a port").unwrap().parse().unwrap();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = mails.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self {
            process,
            scheme,
            port,
            mails,
            ca: certificates.ca,
            _folder: folder,
        })
    }

    /// Returns the value for `SMTP_URL`.
    pub fn url(&self) -> String {
        self.url_with("p%40ss%3Aw%2Frd%20%25")
    }

    /// Returns the URL with another password.
    pub fn url_with(&self, password: &str) -> String {
        format!(
            "{}://mail%20user:{password}@localhost:{}",
            self.scheme, self.port
        )
    }

    /// Returns the accepted mails, oldest first.
    pub fn mails(&self) -> Vec<Value> {
        self.mails.lock().unwrap().clone()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Returns a Python that has the library: CI's own, or the system's.
fn python() -> Option<String> {
    let of_ci = build::workspace().join("target/ci-tools/bin/python");
    let candidates = [of_ci.to_string_lossy().into_owned(), "python3".to_owned()];
    candidates.into_iter().find(|python| {
        let mut import = Command::new(python);
        import.args(["-c", "import aiosmtpd"]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    })
}
