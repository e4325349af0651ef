//! zoom-sync
