//! refresh-token
