//! start-session
