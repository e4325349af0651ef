//! zoom-disconnect
