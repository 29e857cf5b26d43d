//! Refuses, or only logs, clients whose user agent is on the list of known bots.

use super::bots::is_bot;
use crate::config::Environment;
use crate::domain::client_info::ClientInfo;
use crate::error::ApiError;
use crate::telemetry;

/// The setting `BOT_PROTECTION`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Log,
    Block,
}

/// Checks user agents.
pub(super) struct BotProtection {
    mode: Mode,
    /// A function pointer, so that the linker drops the list from functions without public endpoints.
    is_bot: fn(&str) -> bool,
}

impl BotProtection {
    /// Reads `BOT_PROTECTION`: `off`, `log` (the default) or `block`.
    pub(super) fn from_env(environment: &mut Environment) -> Self {
        let parse = |text: &str| match text {
            "off" => Some(Mode::Off),
            "log" => Some(Mode::Log),
            "block" => Some(Mode::Block),
            _ => None,
        };
        let mode = environment.optional("BOT_PROTECTION", "off, log or block", parse);
        Self {
            mode: mode.unwrap_or(Mode::Log),
            is_bot,
        }
    }

    /// Logs and counts a bot.
    ///
    /// # Errors
    /// `bot_detected` where bots are blocked.
    pub(super) fn check(&self, client: &ClientInfo) -> Result<(), ApiError> {
        if self.mode == Mode::Off || !(self.is_bot)(&client.user_agent) {
            return Ok(());
        }
        let is_blocked = self.mode == Mode::Block;
        telemetry::count("Bots", &[]);
        tracing::info!(user_agent = client.user_agent, is_blocked, "bot");
        match is_blocked {
            true => Err(ApiError::BotDetected),
            false => Ok(()),
        }
    }
}
