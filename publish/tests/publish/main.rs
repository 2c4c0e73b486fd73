//! `hallmark-publish`, as it is started.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "all of this file is tests")]

mod carries;
mod crls;
mod notifies;
mod serves;
mod world;
