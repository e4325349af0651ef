//! create-session
