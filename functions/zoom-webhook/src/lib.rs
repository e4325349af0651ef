//! zoom-webhook
