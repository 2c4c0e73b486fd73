//! What policy says, asked from outside, in one program: a file for each part, its cases in the TOML beside this directory.

mod authorities;
mod bounds;
mod callers;
mod content;
mod crls;
mod csrs;
mod decides;
mod der;
mod endorses;
mod evidence;
mod instances;
mod limits;
mod manifests;
mod manifests_speed;
mod meanings;
mod names;
mod names_mistakes;
mod offline;
mod owners;
mod policies;
mod requests;
mod rotation_settings;
mod stages;
mod weak_keys;
mod workloads;
mod world;
