//! What users and programs read: stable wire types and one pure printer per format.

pub mod v1;
