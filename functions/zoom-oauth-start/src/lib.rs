//! zoom-oauth-start
