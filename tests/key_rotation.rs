//! A rotation of the signing key under load, with three independent libraries that verify by the published keys.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use harness::programs::{Answering, Folder};
use harness::token::{self, KeyPair, is_signed_by, key_set};
use harness::{World, until};
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;

/// How long verifiers keep the keys: it stands for the two hours of API Gateway.
const KEYS_ARE_KEPT: Duration = Duration::from_secs(3);
/// How long an access token lives: it stands for 15 minutes.
const LIFETIME: Duration = Duration::from_secs(4);
/// The time that a step waits in addition, for fetches that are under way.
const MARGIN: Duration = Duration::from_secs(2);
/// The time with unchanged keys before and after.
const CALM: Duration = Duration::from_secs(2);

const ISSUER: &str = "gatehouse";
const LIBRARIES: [&str; 3] = ["jose", "PyJWT", "joserfc"];
/// The functions that sign: users sign in at all of them at the same time.
const SIGNERS: usize = 3;

/// Everything that the threads and tasks of the load share.
struct Load {
    /// The tokens that were issued, and when they expire, newest last.
    tokens: Mutex<Vec<(SystemTime, String)>>,
    /// What each verifier answered, by phase.
    verified: Mutex<BTreeMap<(&'static str, &'static str), usize>>,
    refused: Mutex<Vec<(&'static str, &'static str, String)>>,
    phase: Mutex<&'static str>,
    has_ended: AtomicBool,
}

impl Load {
    fn phase(&self) -> &'static str {
        *self.phase.lock().unwrap()
    }

    /// Returns a token that is valid for at least another second: in turn the newest, the oldest and one between.
    fn token(&self, turn: usize) -> Option<(SystemTime, String)> {
        let tokens = self.tokens.lock().unwrap();
        let alive = SystemTime::now() + Duration::from_secs(1);
        let alive: Vec<_> = tokens
            .iter()
            .filter(|(expires, _)| *expires > alive)
            .collect();
        let at = match turn % 3 {
            0 => alive.len().checked_sub(1)?,
            1 => 0,
            _ => alive.len() / 2,
        };
        alive.get(at).map(|token| (*token).clone())
    }

    /// Has a library verify tokens until the end.
    fn verify(&self, library: &'static str, mut verifier: Answering) {
        for turn in 0.. {
            if self.has_ended.load(Ordering::Relaxed) {
                return;
            }
            let Some((expires, token)) = self.token(turn) else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            let phase = self.phase();
            let answer = verifier.ask(&token);
            // On a busy machine a token may expire on its way.
            let is_late = SystemTime::now() + Duration::from_millis(100) >= expires;
            if answer == "valid" {
                let mut verified = self.verified.lock().unwrap();
                *verified.entry((phase, library)).or_default() += 1;
            } else if !is_late {
                self.refused.lock().unwrap().push((phase, library, answer));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether all tokens of the key with this id have expired.
    fn all_expired(&self, key: &str) -> bool {
        let tokens = self.tokens.lock().unwrap();
        let now = SystemTime::now();
        let of_key = |token: &&(SystemTime, String)| token::parts(&token.1).0["kid"] == key;
        tokens
            .iter()
            .filter(of_key)
            .all(|(expires, _)| *expires < now)
    }

    fn refusals(&self, phase: &str, library: &str) -> usize {
        let refused = self.refused.lock().unwrap();
        let is_meant = |refusal: &&(&str, &str, String)| (refusal.0, refusal.1) == (phase, library);
        refused.iter().filter(is_meant).count()
    }
}

/// The address of the published keys, which stays the same whichever world publishes them.
struct Keys {
    url: String,
    of: Arc<Mutex<String>>,
}

impl Keys {
    async fn serve(world: &str) -> Self {
        let of = Arc::new(Mutex::new(world.to_owned()));
        let shared = of.clone();
        let answer = async move || {
            let url = format!("{}/.well-known/jwks.json", shared.lock().unwrap());
            reqwest::get(url).await.unwrap().text().await.unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, of }
    }

    fn publish(&self, world: &str) {
        *self.of.lock().unwrap() = world.to_owned();
    }
}

fn start(signing: &KeyPair, published: &[&KeyPair]) -> Option<World> {
    World::build()
        .variable("JWT_ISSUER", ISSUER)
        .variable("JWT_EXPIRY", &format!("{}s", LIFETIME.as_secs()))
        .variable("JWT_PRIVATE_KEY", &signing.private)
        .variable("JWT_PUBLIC_KEYS", &key_set(published))
        .start()
}

/// While functions are deployed one after the other, a service may fetch the keys of before or of after a step, and get
/// tokens of before or of after it.
#[tokio::test]
async fn a_document_of_either_side_of_a_step_verifies_the_tokens_of_both() {
    let [first, second, third] = [(); 3].map(|()| KeyPair::generate());
    let steps: [(&KeyPair, &[&KeyPair]); 4] = [
        (&first, &[&first]),
        (&first, &[&first, &second]),
        (&second, &[&second, &first]),
        (&second, &[&second, &third, &first]),
    ];
    let mut before: Option<(Vec<Value>, String)> = None;
    for (signing, published) in steps {
        let Some(world) = start(signing, published) else {
            return;
        };
        let client = world.client();
        let access = client.register().await.access;
        let keys = client.request(Method::GET, "/.well-known/jwks.json");
        let keys: Value = keys.send().await.unwrap().json().await.unwrap();
        let keys = keys["keys"].as_array().unwrap().clone();
        let sides: Vec<_> = before
            .into_iter()
            .chain([(keys.clone(), access.clone())])
            .collect();
        for (keys, _) in &sides {
            for (_, access) in &sides {
                let id = &token::parts(access).0["kid"];
                let key = keys.iter().find(|key| key["kid"] == *id);
                assert!(is_signed_by(access, key.expect("the key of the token")));
            }
        }
        before = Some((keys, access));
    }
}

/// Users sign in all the time, at several functions that are deployed one after the other, and each library verifies
/// their tokens all the time: new ones, and those of before the step. Nothing is refused. A key that signs before
/// it is published is refused by each, so this test would notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_libraries_refuse_no_valid_token_before_during_and_after_a_rotation() {
    let [first, second, third, hasty] = [(); 4].map(|()| KeyPair::generate());
    let Some(before) = start(&first, &[&first]) else {
        return;
    };
    let (Some(node), Some(python)) = (
        Folder::of_node("tests/verifiers"),
        Folder::of_python("tests/verifiers"),
    ) else {
        return;
    };
    let announced = start(&first, &[&first, &second]).unwrap();
    let rotated = start(&second, &[&second, &third, &first]).unwrap();
    let after = start(&second, &[&second, &third]).unwrap();
    let unannounced = start(&hasty, &[&hasty, &second]).unwrap();
    let worlds = [before, announced, rotated, after, unannounced];
    let [before, announced, rotated, after, unannounced] = [0, 1, 2, 3, 4];

    let keys = Keys::serve(worlds[before].url()).await;
    let publish = |world: usize| keys.publish(worlds[world].url());
    let load = Arc::new(Load {
        tokens: Mutex::default(),
        verified: Mutex::default(),
        refused: Mutex::default(),
        phase: Mutex::new("before"),
        has_ended: AtomicBool::new(false),
    });
    let signing = Arc::new([(); SIGNERS].map(|()| AtomicUsize::new(before)));
    let mut accounts = Vec::new();
    for world in &worlds {
        let client = world.client();
        let account = client.register().await;
        accounts.push((client, account));
    }
    let accounts = Arc::new(accounts);
    let signers: Vec<_> = (0..SIGNERS)
        .map(|signer| {
            let (load, signing, accounts) = (load.clone(), signing.clone(), accounts.clone());
            tokio::spawn(async move {
                while !load.has_ended.load(Ordering::Relaxed) {
                    let world = signing[signer].load(Ordering::Relaxed);
                    let (client, account) = &accounts[world];
                    let (access, _) = client.login(account).await;
                    let expires = token::parts(&access).1["exp"].as_u64().unwrap();
                    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(expires);
                    load.tokens.lock().unwrap().push((expires, access));
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    let verifiers: Vec<_> = LIBRARIES
        .into_iter()
        .map(|library| {
            let mut command = match library {
                "jose" => {
                    let mut node = node.command("node");
                    node.arg("with_jose.js");
                    node
                }
                library => {
                    let mut python = python.command(".venv/bin/python");
                    python.arg(format!("with_{}.py", library.to_lowercase()));
                    python
                }
            };
            command
                .env("KEYS_URL", &keys.url)
                .env("KEYS_SECONDS", KEYS_ARE_KEPT.as_secs().to_string())
                .env("JWT_ISSUER", ISSUER);
            let load = load.clone();
            std::thread::spawn(move || load.verify(library, Answering::start(command)))
        })
        .collect();
    let wait = tokio::time::sleep;
    let begin = |phase| *load.phase.lock().unwrap() = phase;
    // The functions are deployed one after the other, the published keys in the middle.
    let deploy = async |world: usize| {
        for (signer, signing) in signing.iter().enumerate() {
            signing.store(world, Ordering::Relaxed);
            if signer == 0 {
                wait(Duration::from_millis(300)).await;
                publish(world);
            }
            wait(Duration::from_millis(300)).await;
        }
    };

    // Each phase lasts until every library has verified a token in it.
    let all_have_verified = async |phase| {
        let has = |library| {
            load.verified
                .lock()
                .unwrap()
                .contains_key(&(phase, library))
        };
        until("every library verifies", async || {
            LIBRARIES.into_iter().all(has)
        })
        .await;
    };
    all_have_verified("before").await;
    wait(CALM).await;
    begin("announced");
    deploy(announced).await;
    wait(KEYS_ARE_KEPT + MARGIN).await;
    all_have_verified("announced").await;
    begin("rotated");
    deploy(rotated).await;
    wait(LIFETIME + MARGIN).await;
    all_have_verified("rotated").await;
    until("the tokens of the first key have expired", async || {
        load.all_expired(&first.thumbprint())
    })
    .await;
    begin("after");
    deploy(after).await;
    wait(CALM).await;
    all_have_verified("after").await;
    let phases = ["before", "announced", "rotated", "after"];
    begin("unannounced");
    for signing in &*signing {
        signing.store(unannounced, Ordering::Relaxed);
    }
    wait(CALM).await;
    load.has_ended.store(true, Ordering::Relaxed);
    for signer in signers {
        signer.await.unwrap();
    }
    for verifier in verifiers {
        verifier.join().unwrap();
    }

    let tokens = load.tokens.lock().unwrap().len();
    let mut report = format!("\na rotation under load, {tokens} tokens; verified (refused):\n");
    let verified = load.verified.lock().unwrap().clone();
    for library in LIBRARIES {
        report += &format!("{library:>8}");
        for phase in phases.into_iter().chain(["unannounced"]) {
            let verified = verified.get(&(phase, library)).copied().unwrap_or_default();
            report += &format!("  {phase} {verified} ({})", load.refusals(phase, library));
        }
        report += "\n";
    }
    let _ = std::io::stderr().write_all(report.as_bytes()); // past the capture of test output
    for library in LIBRARIES {
        for phase in phases {
            assert!(
                verified.contains_key(&(phase, library)),
                "{phase} {library}"
            );
        }
        assert!(
            load.refusals("unannounced", library) > 0,
            "{library} notices nothing"
        );
    }
    let refused = load.refused.lock().unwrap();
    let refused: Vec<_> = refused
        .iter()
        .filter(|refusal| refusal.0 != "unannounced")
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
