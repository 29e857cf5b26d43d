//! Lua scripts, run by their digest.

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

/// A Lua script. It must list every key that it touches in its `KEYS`: a serverless cache refuses other keys.
pub struct Script {
    text: &'static str,
    digest: String,
    /// The commands that run the script, by digest and by text. Redis users with read-only permissions may only use the
    /// read-only variants.
    commands: [&'static str; 2],
}

/// A script with its keys and arguments.
pub struct ScriptCall<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Script {
    /// Creates a script from its text.
    pub fn new(text: &'static str) -> Self {
        let digest = redis::Script::new(text).get_hash().to_owned();
        Self {
            text,
            digest,
            commands: ["EVALSHA", "EVAL"],
        }
    }

    /// Creates a script that writes nothing.
    pub fn read_only(text: &'static str) -> Self {
        Self {
            commands: ["EVALSHA_RO", "EVAL_RO"],
            ..Self::new(text)
        }
    }

    /// Starts a call, without keys and arguments.
    pub fn call(&self) -> ScriptCall<'_> {
        ScriptCall {
            script: self,
            keys: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

impl ScriptCall<'_> {
    /// Adds a key.
    pub fn key(&mut self, key: impl Into<String>) -> &mut Self {
        self.keys.push(key.into());
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command
            .arg(script)
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.arguments);
        command
    }

    /// Runs the script by its digest. If the node does not know it, sends the text, which the node then keeps. (`SCRIPT
    /// LOAD` would go to all nodes of a cluster, and fail if any of them fails.)
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> RedisResult<T> {
        let [by_digest, by_text] = self.script.commands;
        let by_digest = self.command(by_digest, &self.script.digest);
        match by_digest.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let whole = self.command(by_text, self.script.text);
                whole.query_async(connection).await
            }
            result => result,
        }
    }
}
