//! zoom-oauth-callback
