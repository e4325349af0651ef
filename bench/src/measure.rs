//! One module for each measurement.

pub mod calls;
pub mod cold;
pub mod memory;
pub mod requests;
pub mod sizes;
