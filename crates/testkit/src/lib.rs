//! What the tests of shared memory are made of.
//!
//! [`family`] makes several "processes" over one piece of ordinary memory; [`explore`] runs the shipping
//! protocols in them, one shared access at a time, in every order, with kill as a move.

pub mod explore;
pub mod family;
