//! What several fuzz targets need: the reference that requests are compared with.

#![forbid(unsafe_code)]

pub mod reference;
