//! The local stack itself, the simulator of Zoom, and what is released.

#[path = "../support/mod.rs"]
mod support;

mod another_zoom;
mod doctor;
mod local_stack;
mod release;
mod zoom_and_stack;
mod zoom_simulator;
