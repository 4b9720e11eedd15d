//! Writes a bundle from records as they come.
