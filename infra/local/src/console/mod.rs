//! The console at `/`: a page for looking at what happens, and what it reads.

mod activity;
mod state;

pub use activity::Activity;
pub use state::state;
