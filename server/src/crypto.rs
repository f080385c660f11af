//! Sealing of secrets and tokens under the master key.

/// Seals and opens.
pub struct Sealer;
