//! The Node-API surface: one file a JavaScript class, and no logic. Everything
//! below knows nothing of JavaScript; everything above is TypeScript.

use napi_derive::napi;

/// The version of the native part, equal to the package's.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
