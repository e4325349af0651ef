//! What all functions share.
